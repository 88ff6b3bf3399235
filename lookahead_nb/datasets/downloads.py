"""Published files, read from the user's folder, the cache or the network, and checked against their sha256."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lookahead_nb.checks import extra

Content = bytes | dict[str, bytes]  # of a file, or of the members of an archive by name


class File(NamedTuple):
    """A published file.

    Attributes
    ----------
    path : str
        Its place in LOOKAHEAD_NB_DATA, "folder/name".
    url : str
        The address of the download. A file may also have the last part of this address as its name.
    sha256 : str
        Hex digits of the unpacked content. For the members of an archive: of their list, as ``sha256sum recordings/*``
        prints it.
    unpack : function of bytes
        Returns the content that is read and checked; the file itself by default.
    """

    path: str
    url: str
    sha256: str
    unpack: Callable[[bytes], Content] = bytes


def _messages(data: bytes) -> bytes:
    """Return the messages themselves; the publisher sends them in an archive."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("SMSSpamCollection")


def _recordings(data: bytes) -> dict[str, bytes]:
    """Return the recordings in an archive, however it is packed: GitHub packs it again, with other bytes."""
    recordings = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:  # in the order of the file, since going back means to unpack again
            path, content = PurePosixPath(member.name), archive.extractfile(member)
            if content and path.parent.name == "recordings":
                recordings[path.name] = content.read()
    return dict(sorted(recordings.items()))


def _plain(folder: str, address: str, sums: dict[str, str]) -> tuple[File, ...]:
    return tuple(File(f"{folder}/{name}", address + name, sha256) for name, sha256 in sums.items())


FILES = {
    "fashion_mnist": _plain(
        "fashion-mnist",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "a9a": _plain(
        "a9a",
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/",
        {
            "a9a": "f5d5ffd8d865ff41328e7ee043e4b020816914ff6843ff15b98905ddbedce906",
            "a9a.t": "1f448a153f0320399a7e40836eb207655b0bde0f21fc941cc472193daa9f5de9",
        },
    ),
    "sms_spam": (
        File(
            "sms-spam/SMSSpamCollection",
            "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
            _messages,
        ),
    ),
    "banking77": _plain(
        "banking77",
        "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/",
        {
            "train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
            "test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        },
    ),
    "spoken_digits": (
        File(
            "fsdd/fsdd-recordings.tar.xz",
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
            "04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
            _recordings,
        ),
    ),
    "movietweetings": _plain(
        "movietweetings-40k",
        "https://raw.githubusercontent.com/sidooms/MovieTweetings/a645287b5856975583467dac6432fb65f5386427/snapshots/40K/",
        {
            "ratings.dat": "ae987f3154bf8b469abc82bdb11e6c50197157067e4fa3d25b5a448a481b32b5",
            "movies.dat": "3c354e6ee6edfd61f06629661236805f651ce396ad6ecf9568cdece618e87f15",
        },
    ),
    "cmudict": _plain(
        "cmudict",
        "https://raw.githubusercontent.com/cmusphinx/cmudict/0f8072f814306c5ee4fbf992ed853601b12c01f9/",
        {"cmudict.dict": "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"},
    ),
}


def published(name: str) -> dict[str, Any]:
    """Return the files of a data set by name, each as published.

    If LOOKAHEAD_NB_DATA is set, all files come from the folder that it names. Otherwise they come from the user's cache
    folder. Missing files are downloaded there once.

    Parameters
    ----------
    name : str
        A key of ``FILES``.

    Returns
    -------
    dict
        The bytes of each file. An archive is again a dict, with the bytes of its members by name.

    Raises
    ------
    OSError
        If a file is missing, cannot be downloaded or has another sha256.
    ModuleNotFoundError
        Without pooch, if LOOKAHEAD_NB_DATA is not set.
    """
    folder, read = _folder(name), _from_mirror if _mirrored() else _from_network
    return {PurePosixPath(file.path).name: read(folder, file) for file in FILES[name]}


def is_available(name: str) -> bool:
    """Return whether all files of a data set are available locally; their sha256 is not checked.

    Parameters
    ----------
    name : str
        A key of ``FILES``.

    Returns
    -------
    bool
        False without pooch, unless LOOKAHEAD_NB_DATA is set.
    """
    try:
        return all(_local_path(_folder(name), file) for file in FILES[name])
    except ModuleNotFoundError:  # without pooch there is no cache
        return False


def _mirrored() -> bool:
    return bool(os.environ.get("LOOKAHEAD_NB_DATA"))


def _folder(name: str) -> Path:
    if _mirrored():
        return Path(os.environ["LOOKAHEAD_NB_DATA"]).expanduser()
    return Path(extra("pooch", "pooch", name).os_cache("lookahead-nb"))


def _downloaded(folder: Path, file: File) -> Path:
    return (folder / file.path).with_name(PurePosixPath(file.url).name)


def _local_path(folder: Path, file: File) -> Path | None:
    places = folder / file.path, _downloaded(folder, file)
    return next((path for path in places if path.is_file()), None)


def _content(path: Path, file: File) -> Content | None:
    """Return the content of a file, or None if its sha256 is not the published one."""
    data = path.read_bytes()
    try:
        content = file.unpack(data)
    except Exception:  # a damaged archive can raise anything
        return None
    checked = content if isinstance(content, bytes) else _checksum_list(content)
    return content if hashlib.sha256(checked).hexdigest() == file.sha256 else None


def _checksum_list(members: dict[str, bytes]) -> bytes:
    """Return the list that ``sha256sum recordings/*`` prints."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  recordings/{name}\n" for name, data in members.items())
    return "".join(lines).encode()


def _from_mirror(folder: Path, file: File) -> Content:
    path = _local_path(folder, file)
    advice = f"put {file.url} there, or unset LOOKAHEAD_NB_DATA to download it"
    if path is None:
        raise FileNotFoundError(f"{folder / file.path} is missing: {advice}")
    content = _content(path, file)
    if content is None:
        raise OSError(f"{path} is not the published file (its sha256 differs): {advice}")
    return content


def _from_network(folder: Path, file: File) -> Content:
    path = _local_path(folder, file)
    if path:
        content = _content(path, file)
        if content is not None:
            return content
        path.unlink()  # it is damaged, or another version
    pooch, requests = importlib.import_module("pooch"), importlib.import_module("requests")
    path, advice = _downloaded(folder, file), f"set LOOKAHEAD_NB_DATA to a folder that holds {file.path}"
    logger = pooch.get_logger()
    level = logger.level
    try:
        logger.setLevel("WARNING")  # a notebook may not write to stderr
        pooch.create(path.parent, "", registry={path.name: None}, urls={path.name: file.url}).fetch(path.name)
    except requests.RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves the socket of a refusal open
        raise OSError(f"could not download {file.url} ({type(error).__name__}): connect, or {advice}") from error
    finally:
        logger.setLevel(level)
    content = _content(path, file)
    if content is None:
        path.unlink()
        raise OSError(f"{file.url} did not send the published file (its sha256 differs): try later, or {advice}")
    return content
