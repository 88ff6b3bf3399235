"""Scalar functions without library calls: exp, log, tanh, sigmoid, softplus and the normal quantile."""

import math

import numpy as np

from lookahead_nb.kernels.compiler import by_width, fma, formula, named, select, sqrt


# No library call: expf and tanhf differ from machine to machine, and a call stops a loop from vectorising. These
# functions use only + - * /, fma, selects and the bits of a number. So Python, any CPU with fma, and CUDA agree bit for
# bit, except in the payload of a NaN. Each function is written once; the widths differ in constants and polynomials.
# None branches.
def _polynomial(*coefficients):
    """Return Horner's rule for these coefficients, highest power first."""
    first, rest = coefficients[0], coefficients[1:]

    def horner(x):
        y = first
        for coefficient in rest:
            y = fma(y, x, coefficient)
        return y

    return formula(named(f"horner_{len(coefficients)}_{float(first).hex()}", horner))


def _scalar_functions(width, integer, exp_tail, log_tail, ln2_high, ln2_low, exp_range):
    """Return exp, log, tanh, sigmoid, softplus for one width.

    Parameters
    ----------
    width, integer : type
        The NumPy float type, and the signed integer type with as many bits.
    exp_tail : function
        (e**r - 1 - r)/r**2 for abs(r) <= ln(2)/2.
    log_tail : function
        (log((1+s)/(1-s))/s - 2)/s**2 as a function of s**2, for -1/7 <= s <= 1/5.
    ln2_high, ln2_low : float
        ln(2) in two pieces, the first so short that its product with any exponent is exact.
    exp_range : tuple of 2 floats
        An x where e**x rounds to 0, and the last x where it is finite.
    """
    digits = np.finfo(width).nmant
    zero, half, one, two = width(0), width(0.5), width(1), width(2)
    infinity, nan, smallest_normal = width(math.inf), width(math.nan), np.finfo(width).smallest_normal
    log2_e = width(1.4426950408889634)
    exp_lowest, exp_highest = exp_range
    tanh_is_one = width(20)

    # A number near 1.5 * 2**digits holds an integer in its last bits: adding it rounds, and its bits are that integer.
    to_integer = width(1.5 * 2**digits)
    to_exponents = width(1.5 * 2**digits + 2 * (np.finfo(width).maxexp - 1))  # with the bias of two exponents inside
    to_integer_bits, three_quarters_bits = to_integer.view(integer), width(0.75).view(integer)
    to_field, one_bit = integer(digits), integer(1)
    grow, grown = width(2.0 ** (digits + 1)), width(digits + 1)

    @formula
    def expm1_parts(x):
        """Return p, a, b with e**x = (1 + p)*a*b: p = e**r - 1, x = k*ln(2) + r, a and b normal numbers, a*b = 2**k."""
        shifted = fma(x, log2_e, to_exponents)
        k = shifted - to_exponents
        high = fma(k, -ln2_high, x)  # exact
        r = fma(k, -ln2_low, high)
        r_low = fma(k, -ln2_low, high - r)
        p = r + fma(r * r, exp_tail(r), r_low)
        exponents = width(shifted).view(integer)  # of a and b together; the shift drops the bits above them
        first = integer(exponents >> one_bit)
        second = integer(exponents - first)
        return p, integer(first << to_field).view(width), integer(second << to_field).view(width)

    @formula
    def exp(x):
        """Return e**x.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width; inf where e**x overflows, exp(-inf) = 0, NaN stays NaN.

        Notes
        -----
        Method: x = k*ln(2) + r, a minimax polynomial for e**r, and 2**k in two factors. So results below the smallest
        normal number are rounded, not flushed. Accuracy: 0.9 ulp; the largest error of every float32 is 0.894, of 10**7
        float64 0.877.

        Examples
        --------
        >>> import numpy as np
        >>> from lookahead_nb.kernels.formulas import exp
        >>> float(exp(np.float64(1)))
        2.718281828459045
        """
        y = exp_lowest if x < exp_lowest else x
        y = exp_highest if y > exp_highest else y
        p, a, b = expm1_parts(y)
        y = fma(fma(p, a, a), b, zero)  # a bare product may be fused with a sum in the caller
        return infinity if x > exp_highest else y

    @formula
    def log_parts(f, k):
        """Return log((1 + f)*2**k), -1/4 <= f <= 1/2: k*ln(2) + f - f**2/2 + s*(f**2/2 + s**2*tail), s = f/(2 + f)."""
        s = f / (two + f)
        z = s * s
        h = half * f
        low = fma(s, fma(z, log_tail(z), h * f), k * ln2_low)
        return fma(k, ln2_high, f - fma(h, f, -low))

    @formula
    def log(x):
        """Return the natural logarithm of x.

        Parameters
        ----------
        x : float
            float32 or float64, any number, subnormal ones too.

        Returns
        -------
        float
            Of the same width; log(0) = log(-0.0) = -inf, NaN for x < 0, log(inf) = inf, NaN stays NaN.

        Notes
        -----
        Method: x = (1 + f)*2**k with 3/4 <= 1 + f < 3/2, and a minimax polynomial in s**2, s = f/(2 + f).
        Accuracy: 0.9 ulp; the largest error of every float32 is 0.829, of 10**7 float64 0.881.
        """
        y = x if x > zero else one
        small = y < smallest_normal
        y = y * grow if small else y
        bits = width(y).view(integer)
        k_bits = integer(integer(bits - three_quarters_bits) >> to_field)
        f = integer(bits - integer(k_bits << to_field)).view(width) - one
        k = integer(to_integer_bits + k_bits).view(width) - to_integer
        y = log_parts(f, k - grown if small else k)
        y = infinity if x == infinity else y
        y = -infinity if x == zero else y
        return y if x >= zero else nan

    @formula
    def quotient(a, b, b_low):
        """Return a/(b + b_low) for 1 <= b, b_low below its last digit: one step of Newton on a * (1/b)."""
        inverse = one / b
        y = a * inverse
        return fma(fma(-y, b_low, fma(-y, b, a)), inverse, y)

    @formula
    def tanh(x):
        """Return the hyperbolic tangent of x.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width. tanh(-x) is -tanh(x) bit for bit, tanh(-0.0) = -0.0, tanh(x) = x for tiny x, tanh(+-inf)
            = +-1, and NaN stays NaN.

        Notes
        -----
        Method: sign(x) * m/(m + 2), m = e**(2*abs(x)) - 1 without cancellation.
        Accuracy: 1.75 ulp; the largest error of every float32 is 1.652, of 10**7 float64 1.686.
        """
        y = abs(x)
        y = tanh_is_one if y > tanh_is_one else y
        p, a, b = expm1_parts(fma(one, y, y))  # a plain sum would warn about a signalling NaN in Python
        m = fma(p, a * b, fma(a, b, -one))
        d = m + two
        return width(math.copysign(quotient(m, d, m - (d - two)), x))

    @formula
    def sigmoid(x):
        """Return 1/(1 + e**-x).

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width, in [0, 1]; sigmoid(-inf) = 0, sigmoid(inf) = 1, NaN stays NaN.

        Notes
        -----
        Method: with e = e**-abs(x) it is 1/(1 + e) for x >= 0 and e/(1 + e) below, so nothing overflows or cancels.
        Accuracy: 1.5 ulp; the largest error of every float32 is 1.480, of 10**7 float64 1.476.
        """
        e = exp(-abs(x))
        d = one + e
        return quotient(e if x < zero else one, d, e - (d - one))

    @formula
    def softplus(x):
        """Return log(1 + e**x), the loss of one logit: ``softplus(x) - y*x``.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width; softplus(-inf) = 0, softplus(inf) = inf, NaN stays NaN. For very negative x it is e**x,
            down to the subnormal numbers.

        Notes
        -----
        Method: max(x, 0) + log(1 + e), e = e**-abs(x). The sum 1 + e is never rounded: it is written as 1 + f with f =
        e, or as 2*(1 + f) from e = 1/2 on. Accuracy: 1.6 ulp; the largest error of every float32 is 1.593, of 10**7
        float64 1.576.
        """
        e = exp(-abs(x))
        large = e >= half
        f = select(large, fma(half, e, -half), e)
        return (x if x > zero else zero) + log_parts(f, select(large, one, zero))

    return exp, log, tanh, sigmoid, softplus


_f32, _f64 = np.float32, np.float64
exp32, log32, tanh32, sigmoid32, softplus32 = _scalar_functions(
    np.float32,
    np.int32,
    # Minimax fit on [-ln(2)/2, ln(2)/2]: 1/2 is exact; each other one was rounded and the rest were fitted again.
    _polynomial(_f32(0.0013898948), _f32(0.00836613), _f32(0.041666847), _f32(0.16666548), _f32(0.5)),
    # Minimax fit on [0, 1/25], rounded in the same way.
    _polynomial(_f32(0.30364102), _f32(0.3995767), _f32(0.6666695)),
    ln2_high=_f32(0.69314575),
    ln2_low=_f32(1.4286068e-06),
    exp_range=(_f32(-104.0), _f32(88.72283)),
)
exp64, log64, tanh64, sigmoid64, softplus64 = _scalar_functions(
    np.float64,
    np.int64,
    _polynomial(
        _f64(2.504603800819652e-08),
        _f64(2.7622345765282726e-07),
        _f64(2.755742493679939e-06),
        _f64(2.4801516084180262e-05),
        _f64(0.000198412697092777),
        _f64(0.0013888888920689526),
        _f64(0.008333333333388445),
        _f64(0.04166666666661961),
        _f64(0.16666666666666602),
        _f64(0.5),
    ),
    _polynomial(
        _f64(0.15372863515462357),
        _f64(0.15249596061246548),
        _f64(0.18186385208356579),
        _f64(0.22222137803512956),
        _f64(0.28571429403644916),
        _f64(0.3999999999611635),
        _f64(0.6666666666667279),
    ),
    ln2_high=_f64(0.693147180559663),
    ln2_low=_f64(2.8235290563031577e-13),
    exp_range=(_f64(-745.2), _f64(709.782712893384)),
)
exp, log, tanh = by_width(exp32, exp64), by_width(log32, log64), by_width(tanh32, tanh64)
sigmoid, softplus = by_width(sigmoid32, sigmoid64), by_width(softplus32, softplus64)
# Numerators and denominators of two rational functions, highest power first.
_middle_over, _middle_under = (
    _polynomial(
        _f64(2509.0809287301226727),
        _f64(33430.575583588128105),
        _f64(67265.770927008700853),
        _f64(45921.953931549871457),
        _f64(13731.693765509461125),
        _f64(1971.5909503065514427),
        _f64(133.14166789178437745),
        _f64(3.387132872796366608),
    ),
    _polynomial(
        _f64(5226.495278852854561),
        _f64(28729.085735721942674),
        _f64(39307.89580009271061),
        _f64(21213.794301586595867),
        _f64(5394.1960214247511077),
        _f64(687.1870074920579083),
        _f64(42.313330701600911252),
        _f64(1.0),
    ),
)
_sides_over, _sides_under = (
    _polynomial(
        _f64(7.7454501427834140764e-4),
        _f64(0.0227238449892691845833),
        _f64(0.24178072517745061177),
        _f64(1.27045825245236838258),
        _f64(3.64784832476320460504),
        _f64(5.7694972214606914055),
        _f64(4.6303378461565452959),
        _f64(1.42343711074968357734),
    ),
    _polynomial(
        _f64(1.05075007164441684324e-9),
        _f64(5.475938084995344946e-4),
        _f64(0.0151986665636164571966),
        _f64(0.14810397642748007459),
        _f64(0.68976733498510000455),
        _f64(1.6763848301838038494),
        _f64(2.05319162663775882187),
        _f64(1.0),
    ),
)
_middle_edge, _middle_square = _f64(0.425), _f64(0.180625)
_sides_from, _sides_end, _somewhere = _f64(1.6), _f64(math.exp(-25)), _f64(0.01)
_half, _one, _zero, _not_a_number = _f64(0.5), _f64(1), _f64(0), _f64(math.nan)


@formula
def normal_quantile(u):
    """Return the x below which a standard normal number falls with probability u.

    Parameters
    ----------
    u : float64
        e**-25 <= u <= 1 - e**-25, which covers every random word of 32 bits.

    Returns
    -------
    float64
        NaN for any other u.

    Notes
    -----
    Method: a rational function of (u - 1/2)**2 in the middle, and of sqrt(-log(min(u, 1-u))) at the sides. Accuracy:
    1e-15 relative. Source: Wichura 1988, algorithm AS 241, PPND16, without its third function for the ends.
    """
    q = u - _half
    near = fma(-q, q, _middle_square)
    near = near if near > _zero else _zero  # where it is not selected, it must stay harmless
    tail = u if q < _zero else _one - u
    r = sqrt(-log64(tail if tail >= _sides_end else _somewhere)) - _sides_from
    # Weights of 0 and 1 instead of branches, into which the compiler would move the polynomials.
    middle = _one if abs(q) <= _middle_edge else _zero
    side = _one - middle
    signed = -side if q < _zero else side
    over = fma(q if abs(q) <= _middle_edge else _zero, _middle_over(near), signed * _sides_over(r))
    under = fma(middle, _middle_under(near), side * _sides_under(r))
    defined = _one if tail >= _sides_end else _not_a_number
    return defined * (over / under)
