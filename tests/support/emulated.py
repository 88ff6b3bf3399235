"""A CUDA device made of the CPU: the PTX of each kernel, translated to LLVM one instruction at a time.

What Numba compiles for a GPU runs here, with the types and the address arithmetic it has there, each thread of a block
as a thread that waits at the same barriers. Between this and a device are only ptxas and the chip, and every floating-
point instruction of ours is defined to the last bit. An instruction that is not known here is an error.
"""

import ctypes
import re
import struct
import threading
from itertools import count
from types import SimpleNamespace

import numpy as np
from llvmlite import binding as llvm
from numba import cuda, typeof, types
from numba.cuda import dispatcher

from lookahead_nb.kernels import gpu

CAPABILITY = (9, 0)
PATIENCE = 100  # seconds at a barrier, after which threads have gone separate ways
WATCHED = False  # whether every access to memory is looked at, see Watch; it takes a hundred times as long

# ------------------------------------------------------------------------------------------------- PTX to LLVM

KINDS = {"pred": "i1", "b8": "i8", "b16": "i16", "b32": "i32", "b64": "i64", "f32": "float", "f64": "double"}
KINDS |= {f"{sign}{bits}": f"i{bits}" for sign in "us" for bits in (8, 16, 32, 64)}
ORDERS = ("eq", "ne", "lt", "le", "gt", "ge")
SPECIAL = {f"%{name}.x": f"%{name}" for name in ("tid", "ntid", "ctaid", "nctaid")}
SPECIAL |= {"%dynamic_smem_size": "%dynamic"}
FLOATING = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
WHOLE = ("add", "sub", "mul", "and", "or", "xor")

PARAMETERS = "ptr %params, i32 %tid, i32 %ntid, i32 %ctaid, i32 %nctaid, i32 %dynamic, "
PARAMETERS += "ptr %shared, ptr %barrier, ptr %watch"


class Translation:
    """The LLVM of one PTX kernel."""

    def __init__(self, ptx, watched=False):
        self.watched = watched
        body = ptx[ptx.index(".visible .entry") :]
        self.statics, self.shared_size = self._shared(ptx)
        self.waits = re.search(r"\bbar\.", body) is not None
        self.fresh, self.scopes, self.lines, self.kinds = count(), [{}], [], {}
        self.declared = set()
        lines = body[body.index("{") + 1 : body.rindex("}")].replace(";", ";\n").splitlines()
        for line in (line.strip().removesuffix(";").strip() for line in lines):
            self._line(line)
        registers = [f"  {name} = alloca {kind}" for name, kind in self.kinds.items()]
        declared = "\n".join(sorted(self.declared))
        self.llvm = "\n".join(
            [
                declared,
                f"define void @kernel({PARAMETERS}) {{",
                "entry:",
                *registers,
                "  br label %start",
                "start:",
                *self.lines,
                "  ret void",
                "}",
            ]
        )

    @staticmethod
    def _shared(ptx):
        """Return where each shared array begins, the dynamic one last, and how long the others are."""
        at, starts = 0, {}
        for align, name, size in re.findall(
            r"^\s*(?:\.extern |\.visible )?\.shared \.align (\d+) \.b8 (\w+)\[(\d*)\];", ptx, re.M
        ):
            starts[name] = at = -(-at // int(align)) * int(align)
            at += int(size or 0)
        return starts, at

    def _new(self):
        return f"%t{next(self.fresh)}"

    def _emit(self, text):
        name = self._new()
        self.lines.append(f"  {name} = {text}")
        return name

    def _call(self, kind, intrinsic, *values):
        arguments = ", ".join([kind] * len(values))
        self.declared.add(f"declare {kind} @llvm.{intrinsic}.{suffix(kind)}({arguments})")
        return self._emit(f"call {kind} @llvm.{intrinsic}.{suffix(kind)}({', '.join(f'{kind} {v}' for v in values)})")

    def _line(self, line):
        if not line or line.startswith(("//", ".loc", ".file", ".pragma")):
            return
        if line == "{":
            self.scopes.append({})
        elif line == "}":
            self.scopes.pop()
        elif line.startswith(".reg"):
            _, kind, name = line.split()
            stem, _, many = name.partition("<")
            for i in range(int(many[:-1])) if many else [""]:
                unique = f"%reg.{next(self.fresh)}"
                self.scopes[-1][f"{stem}{i}"] = unique
                self.kinds[unique] = KINDS[kind[1:]]
        elif line.endswith(":"):
            self.lines += [f"  br label {label(line[:-1])}", f"{label(line[:-1])[1:]}:"]
        else:
            guard, operation, operands = re.fullmatch(r"(?:@(!?%\w+)\s+)?([\w.]+)\s*(.*)", line).groups()
            self._instruction(guard, operation.split("."), re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", operands))

    def _register(self, name):
        return next(scope[name] for scope in reversed(self.scopes) if name in scope)

    def _value(self, operand, kind):
        """Return an operand as LLVM of this kind; a register is read as it is, whatever its kind."""
        if operand in SPECIAL:
            return SPECIAL[operand]
        if operand.startswith("%"):
            register = self._register(operand)
            there = self.kinds[register]
            value = self._emit(f"load {there}, ptr {register}")
            return value if there == kind else self._emit(f"{conversion(there, kind)} {there} {value} to {kind}")
        if operand.startswith(("0f", "0d")):
            there, code = ("float", ">f") if operand.startswith("0f") else ("double", ">d")
            number = "0x" + struct.pack(">d", struct.unpack(code, bytes.fromhex(operand[2:]))[0]).hex().upper()
            return number if there == kind else self._emit(f"bitcast {there} {number} to {kind}")
        if operand in self.statics:
            begin = self._emit(f"getelementptr i8, ptr %shared, i64 {self.statics[operand]}")
            return self._emit(f"ptrtoint ptr {begin} to i64")
        return str(int(operand) != 0).lower() if kind == "i1" else str(int(operand))

    def _write(self, operand, kind, value):
        register = self._register(operand)
        there = self.kinds[register]
        if there != kind:
            value = self._emit(f"{conversion(kind, there)} {kind} {value} to {there}")
        self.lines.append(f"  store {there} {value}, ptr {register}")

    def _address(self, operand, space):
        base, _, offset = operand[1:-1].partition("+")
        if space == "param":
            at = 8 * int(base.rpartition("_param_")[2]) + int(offset or 0)
            return self._emit(f"getelementptr i8, ptr %params, i64 {at}")
        at = self._emit(f"add i64 {self._value(base, 'i64')}, {int(offset or 0)}")
        return self._emit(f"inttoptr i64 {at} to ptr")

    def _instruction(self, guard, operation, operands):
        name, *how, last = operation if len(operation) > 1 else (*operation, "")
        if name == "bra":
            target = label(operands[0])
            if guard:
                condition, after = self._value(guard.lstrip("!"), "i1"), f"after{next(self.fresh)}"
                ways = (f"%{after}", target) if guard[0] == "!" else (target, f"%{after}")
                self.lines += [f"  br i1 {condition}, label {ways[0]}, label {ways[1]}", f"{after}:"]
            else:
                self.lines += [f"  br label {target}", f"after{next(self.fresh)}:"]
            return
        assert guard is None, f"a guard on {'.'.join(operation)}"
        if name == "ret":
            self.lines += ["  ret void", f"after{next(self.fresh)}:"]
        elif name in ("ld", "st"):
            self._access(name, how, KINDS[last], *operands)
        elif name == "atom":
            self._atomic(how, last, *operands)
        elif name == "bar":
            self._barrier(".".join(operation), operands)
        elif name in ("cvta", "mov"):
            self._write(operands[0], KINDS[last], self._value(operands[1], KINDS[last]))
        elif name == "cvt":
            self._convert(how, last, *operands)
        elif name == "setp":
            assert len(how) == 1, how
            left, right = (self._value(operand, KINDS[last]) for operand in operands[1:])
            self._write(operands[0], "i1", self._emit(f"{comparison(how[0], last)} {KINDS[last]} {left}, {right}"))
        else:
            kind = KINDS[last]
            wide = f"i{2 * int(last[1:])}" if how == ["wide"] else kind
            self._write(operands[0], wide, self._computed(name, how, last, kind, operands[1:]))

    def _access(self, name, how, kind, *operands):
        spaces = [each for each in how if each in ("global", "shared", "param")]
        assert len(spaces) == 1, how
        there, registers = operands[::-1] if name == "ld" else operands
        at = self._address(there, spaces[0])
        size = KIND_BYTES[kind]
        for i, register in enumerate(re.findall(r"[^{},\s]+", registers)):
            each = self._emit(f"getelementptr i8, ptr {at}, i64 {i * size}")
            if self.watched and spaces != ["param"]:
                self.lines.append(f"  call void %watch(i32 %tid, ptr {each}, i32 {size}, i32 {int(name == 'st')})")
            if name == "ld":
                self._write(register, kind, self._emit(f"load {kind}, ptr {each}, align 1"))
            else:
                self.lines.append(f"  store {kind} {self._value(register, kind)}, ptr {each}, align 1")

    def _atomic(self, how, last, target, there, operand):
        space, what = how
        kind, at = KINDS[last], self._address(there, space)
        act = {"min": "min" if last[0] == "s" else "umin", "add": "add"}[what]
        told = self._emit(f"atomicrmw {act} ptr {at}, {kind} {self._value(operand, kind)} monotonic")
        self._write(target, kind, told)

    def _barrier(self, operation, operands):
        assert operands[{"bar.sync": 0, "bar.red.or.pred": 1}[operation]] == "0"
        flag = self._value(operands[2], "i1") if len(operands) > 1 else "false"
        told = self._emit(f"call i32 %barrier(i32 %tid, i32 {self._emit(f'zext i1 {flag} to i32')})")
        if len(operands) > 1:
            self._write(operands[0], "i1", self._emit(f"icmp ne i32 {told}, 0"))

    def _convert(self, how, source, target, operand):
        to, signed = how[-1], source[0] == "s"
        assert how[:-1] in ([], ["rn"]) or (how[:-1] == ["rzi"] and to[0] != "f"), how
        there, kind = KINDS[source], KINDS[to]
        value = self._value(operand, there)
        if to[0] == source[0] == "f":
            act = "fptrunc" if (source, to) == ("f64", "f32") else "fpext"
        elif to[0] == "f":
            act = "sitofp" if signed else "uitofp"
        elif source[0] == "f":
            act = f"llvm.fpto{'s' if to[0] == 's' else 'u'}i.sat"
        else:
            act = "trunc" if KIND_BYTES[kind] < KIND_BYTES[there] else "sext" if signed else "zext"
        if act.startswith("llvm"):
            self.declared.add(f"declare {kind} @{act}.{suffix(kind)}.{suffix(there)}({there})")
            value = self._emit(f"call {kind} @{act}.{suffix(kind)}.{suffix(there)}({there} {value})")
        elif there != kind:
            value = self._emit(f"{act} {there} {value} to {kind}")
        self._write(target, kind, value)

    def _computed(self, name, how, last, kind, operands):
        """Return what an instruction of one result computes."""
        assert how in ([], ["rn"], ["lo"], ["hi"], ["wide"]), how
        if name == "selp":
            one, other = (self._value(operand, kind) for operand in operands[:2])
            return self._emit(f"select i1 {self._value(operands[2], 'i1')}, {kind} {one}, {kind} {other}")
        if name in ("shl", "shr"):
            value, amount = self._value(operands[0], kind), self._value(operands[1], "i32")
            bits = 8 * KIND_BYTES[kind]
            amount = self._emit(f"zext i32 {amount} to {kind}") if bits == 64 else amount
            most = self._call(kind, "umin", amount, bits - 1)
            act = "shl" if name == "shl" else "ashr" if last[0] == "s" else "lshr"
            shifted = self._emit(f"{act} {kind} {value}, {most}")
            if act == "ashr":
                return shifted
            return self._emit(
                f"select i1 {self._emit(f'icmp ult {kind} {amount}, {bits}')}, {kind} {shifted}, {kind} 0"
            )
        values = [self._value(operand, kind) for operand in operands]
        if last[0] == "f":
            return self._floating(name, how, kind, values)
        if name == "mad":
            return self._emit(f"add {kind} {self._emit(f'mul {kind} {values[0]}, {values[1]}')}, {values[2]}")
        if name == "mul" and how != ["lo"]:
            bits = 8 * KIND_BYTES[kind]
            wide, act = f"i{2 * bits}", "sext" if last[0] == "s" else "zext"
            values = [self._emit(f"{act} {kind} {value} to {wide}") for value in values]
            whole = self._emit(f"mul {wide} {values[0]}, {values[1]}")
            if how == ["wide"]:
                return whole
            return self._emit(f"trunc {wide} {self._emit(f'lshr {wide} {whole}, {bits}')} to {kind}")
        if name in ("div", "rem"):
            return self._emit(f"{last[0]}{name} {kind} {values[0]}, {values[1]}")
        if name in ("max", "min"):
            return self._call(kind, f"{last[0]}{name}", *values)
        if name == "neg":
            return self._emit(f"sub {kind} 0, {values[0]}")
        if name == "not":
            return self._emit(f"xor {kind} {values[0]}, {'true' if kind == 'i1' else -1}")
        assert name in WHOLE, name
        return self._emit(f"{name} {kind} {values[0]}, {values[1]}")

    def _floating(self, name, how, kind, values):
        assert how == ["rn"] or name not in ("fma", "div", "sqrt", "rcp"), f"{name} is not rounded as IEEE says"
        if name in FLOATING:
            return self._emit(f"{FLOATING[name]} {kind} {values[0]}, {values[1]}")
        if name == "rcp":
            return self._emit(f"fdiv {kind} 1.0, {values[0]}")
        if name == "neg":
            return self._emit(f"fneg {kind} {values[0]}")
        if name == "copysign":  # the sign comes first
            return self._call(kind, "copysign", *values[::-1])
        if name in ("max", "min"):  # a number goes before NaN, and +0 is above -0
            return self._call(kind, f"{name}imumnum", *values)
        return self._call(kind, {"abs": "fabs", "fma": "fma", "sqrt": "sqrt"}[name], *values)


KIND_BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8}


def suffix(kind):
    return {"float": "f32", "double": "f64"}.get(kind, kind)


def label(name):
    return "%" + re.sub(r"\W", "_", name)


def conversion(there, kind):
    """Return how bits of one kind become another: as they are, or narrower, or wider with zeros."""
    sizes = KIND_BYTES[there], KIND_BYTES[kind]
    return "bitcast" if sizes[0] == sizes[1] else "trunc" if sizes[0] > sizes[1] else "zext"


def comparison(how, last):
    """Return how two values are compared; with NaN only what ends in u holds, and nan itself."""
    if last[0] == "f":
        named = {"num": "ord", "nan": "uno", "ne": "one"} | {f"{order}u": f"u{order}" for order in ORDERS}
        return "fcmp " + (named | {order: f"o{order}" for order in ORDERS if order != "ne"})[how]
    assert how in ORDERS, how
    return "icmp " + how if how in ("eq", "ne") else f"icmp {'s' if last[0] == 's' else 'u'}{how}"


# ---------------------------------------------------------------------------------------------------- launching

BARRIER = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
TOUCH = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32)


def host_machine():
    """Return this CPU to LLVM, anew for each program, which keeps it; contraction and the like stay off."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=1, jit=True)


class Watch:
    """What the threads of a launch touch. Until a barrier nobody may touch what another writes, and no block ever what
    another block writes; only what was handed over may be touched at all, and shared memory be read once it is written.
    """

    def __init__(self, arguments):
        arrays = [leaf._ary for leaf in leaves(arguments) if isinstance(leaf, Array)]
        self.places = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]
        self.by_block, self.found = {}, set()

    def begin(self, block, shared):
        self.block, self.by_thread, self.written = block, {}, set()
        self.shared = ctypes.addressof(shared), ctypes.addressof(shared) + len(shared) - 1

    def at_barrier(self):
        self.by_thread.clear()

    def touch(self, thread, address, size, writes):
        end = address + size
        near = self.shared[0] <= address and end <= self.shared[1]
        if not near and not any(begin <= address and end <= stop for begin, stop in self.places):
            self.found.add("memory is touched that belongs to no array")
        if near and not writes and address not in self.written:
            self.found.add("shared memory is read before it is written")
        if near and writes:
            self.written.add(address)
        whose = [(self.by_thread, thread, "thread")] + ([] if near else [(self.by_block, self.block, "block")])
        for seen, me, kind in whose:
            others = seen.setdefault(address, {})
            if any(who != me and (wrote or writes) for who, wrote in others.items()):
                self.found.add(f"a {kind} touches what another {kind} writes")
            others[me] = others.get(me, False) or bool(writes)


class Program:
    """The PTX of a kernel, ready to be run."""

    def __init__(self, ptx):
        translated, self.watched = Translation(ptx, WATCHED), WATCHED
        self.waits, self.shared_size = translated.waits, translated.shared_size
        module = llvm.parse_assembly(translated.llvm)
        machine = host_machine()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
        builder.getModulePassManager().run(module, builder)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        words, pointer = [ctypes.c_int32] * 5, ctypes.c_void_p
        prototype = ctypes.CFUNCTYPE(None, pointer, *words, pointer, BARRIER, TOUCH)
        self.run = prototype(self.engine.get_function_address("kernel"))

    def launch(self, blocks, threads, dynamic, arguments):
        parameters, watch = b"".join(map(packed, leaves(arguments))), Watch(arguments)
        touch = TOUCH(watch.touch) if self.watched else TOUCH()
        for block in range(blocks):
            shared = ctypes.create_string_buffer(self.shared_size + dynamic + 1)
            watch.begin(block, shared)
            calls = [(parameters, thread, threads, block, blocks, dynamic, shared) for thread in range(threads)]
            if self.waits:
                self._together(calls, watch, touch)
            else:
                for call in calls:
                    self.run(*call, BARRIER(), touch)
        assert not watch.found, ", ".join(sorted(watch.found))

    def _together(self, calls, watch, touch):
        flags, failed = [0] * len(calls), []
        barrier = threading.Barrier(len(calls), watch.at_barrier)

        def wait(thread, flag):
            try:
                flags[thread] = flag
                barrier.wait(PATIENCE)
                told = any(flags)
                barrier.wait(PATIENCE)  # nobody writes the next flag before everybody has read this one
                return told
            except threading.BrokenBarrierError:
                failed.append(thread)
                return 0

        met = BARRIER(wait)
        workers = [threading.Thread(target=self.run, args=(*call, met, touch)) for call in calls]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failed, f"threads {sorted(failed)} of a block waited at a barrier for the others"


class Kernel:
    """What ``cuda.jit`` returns: the kernel for any arguments, or a function of the device."""

    def __init__(self, function):
        self.function, self.programs = function, {}

    def __getitem__(self, configuration):
        blocks, threads, _stream, dynamic = (*configuration, *(0, 0)[len(configuration) - 2 :])
        assert blocks > 0, "a grid without a block is refused by the driver"
        assert threads > 0, "a block without a thread is refused by the driver"

        def launch(*arguments):
            signature = tuple(map(typeof, arguments))
            which = WATCHED, signature
            if which not in self.programs:
                self.programs[which] = Program(
                    cuda.compile_ptx(self.function, types.void(*signature), cc=CAPABILITY)[0]
                )
            self.programs[which].launch(int(blocks), int(threads), int(dynamic), arguments)

        return launch


def leaves(argument):
    """Return the arrays and numbers of arguments in the order in which a kernel takes them; tuples may hold tuples."""
    if isinstance(argument, tuple | list):
        return [leaf for member in argument for leaf in leaves(member)]
    return [argument]


def packed(argument):
    """Return an array or number as the words that a kernel is handed, eight bytes each."""
    if isinstance(argument, Array):
        there = argument._ary
        words = 0, 0, there.size, there.itemsize, there.ctypes.data, *there.shape, *there.strides
        return struct.pack(f"<{len(words)}q", *words)
    assert np.isscalar(argument), f"{argument!r} is neither an array of the device nor a number"
    return np.asarray(argument).tobytes().ljust(8, b"\0")


class Array:
    """An array of the device, with what Numba's has that we use."""

    def __init__(self, host, stream=0):
        self._ary, self.stream = host, stream
        self.shape, self.strides, self.dtype, self.size = host.shape, host.strides, host.dtype, host.size
        self.ndim, self.itemsize, self.nbytes = host.ndim, host.itemsize, host.nbytes
        assert host.flags.c_contiguous
        self._numba_type_ = types.Array(typeof(host).dtype, host.ndim, "C")  # which `typeof` finds in a tuple too

    def __array__(self, *arguments, **options):
        raise AssertionError("an array of the device was read on the host")

    def __getitem__(self, which):
        return Array(self._ary[which], self.stream)

    def __len__(self):
        return len(self._ary)

    def bind(self, stream=0):
        return Array(self._ary, stream)

    def copy_to_host(self):
        return self._ary.copy()

    def copy_to_device(self, source):
        self._ary[...] = source._ary if isinstance(source, Array) else source


def to_device(array):
    return Array(np.array(array, order="C"))


def device_array(shape, dtype=np.float64, stream=0):
    """Return an array that holds no number yet: NaN, or the largest there is."""
    dtype = np.dtype(dtype)
    return Array(np.full(shape, np.nan if dtype.kind == "f" else np.iinfo(dtype).max, dtype), stream)


class Device:
    """The device, and the context that is current on it."""

    name, number = b"the CPU, emulating", 0

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        return None

    @property
    def device(self):
        return self

    @staticmethod
    def get_memory_info():
        return SimpleNamespace(free=8 << 30, total=8 << 30)


def jit(function=None, **options):
    if options:
        return real_jit(function, **options) if function else lambda function: real_jit(function, **options)
    return Kernel(function)


real_jit = cuda.jit


def pretend(monkeypatch):
    """Put this device in the place of a real one."""
    there = Device()
    given = {"jit": jit, "to_device": to_device, "device_array": device_array, "gpus": [there]}
    given |= {"current_context": lambda: there, "synchronize": lambda: None}  # every launch is over when it returns
    for name, value in given.items():
        monkeypatch.setattr(cuda, name, value)
    pretended = SimpleNamespace(compute_capability=CAPABILITY, id=0)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: pretended)
    monkeypatch.setattr(gpu, "problem", lambda: None)
    monkeypatch.setattr(gpu, "device_of", lambda address: there.number)
