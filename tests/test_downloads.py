"""Published files: found, downloaded once, checked or refused; and how the rows in them are read. All in small."""

import gzip
import hashlib
import io
import pickle
import re
import struct
import sys
import tarfile
import threading
import wave
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from lookahead_nb.datasets import available, downloads, load, sources, split
from lookahead_nb.datasets.features import log_mel, token_counts

PARTS = ("train", "validation", "test")


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and not re.search(r"\.( |$)", text)


# ---------------------------------------------------------------------------------------- small files for the published


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def zipped(members):
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return file.getvalue()


def tarred(mode, members):
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return file.getvalue()


def wav(samples):
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(samples.astype("<i2").tobytes())
        return file.getvalue()


def summed(data):
    return hashlib.sha256(data).hexdigest()


RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (n, 4, 3), np.uint8) for n in (60, 20)]
LABELS = [(np.arange(n) % 10).astype(np.uint8) for n in (60, 20)]
INDICATORS = [RNG.random((n, 123)) < 0.1 for n in (36, 12)]
INCOMES = [np.arange(n) % 3 == 0 for n in (36, 12)]
CENSUS = [
    "".join(
        "+1 "[: 3 if rich else 0]
        + "-1 "[: 0 if rich else 3]
        + "".join(f"{j + 1}:1 " for j in np.flatnonzero(row))
        + "\n"
        for row, rich in zip(table, incomes, strict=True)
    ).encode()
    for table, incomes in zip(INDICATORS, INCOMES, strict=True)
]
MESSAGES = [f"{'spam' if i % 5 == 0 else 'ham'}\tmessage {i % 7} \x85 costs £{i}!\n" for i in range(30)]
QUERIES = [[(f'card {i % 4}, "lost"\r\ntwice', "cab"[i % 3]) for i in range(n)] for n in (30, 9)]
TABLES = [
    "text,category\r\n" + "".join('"{}",{}\r\n'.format(text.replace('"', '""'), intent) for text, intent in queries)
    for queries in QUERIES
]
RECORDINGS = {
    f"{digit}_{speaker}_{i}.wav": RNG.integers(-9000, 9000, 500 + 70 * i)
    for digit in range(3)
    for speaker in "ab"
    for i in range(12)
}
GENRES = {"0000007": "Drama|Comedy", "0000012": "", "0000123": "Sci-Fi", "0000200": "Comedy"}
FILMS = [f"{film}::Film: {i} (1999)::{listed}\n" for i, (film, listed) in enumerate(GENRES.items())]
RATED = [(str(i % 7), [*GENRES][i % 4], i * 3 % 11, 1000 + i * 37 % 50 // 2) for i in range(30)]  # some in one second
SPOKEN = {"a": "AH0", "b": "B", "x": "K S"}
SPELLED = [f"{a}{b}{c}{d}" for a in SPOKEN for b in SPOKEN for c in SPOKEN for d in SPOKEN]
PRONOUNCED = [f"{word} {' '.join(SPOKEN[letter] for letter in word)}\n" for word in SPELLED]
WAVS = {name: wav(samples) for name, samples in RECORDINGS.items()}
LISTED = "".join(f"{summed(WAVS[name])}  recordings/{name}\n" for name in sorted(WAVS)).encode()
ANYWHERE = {
    name: {f"{top}/recordings/{name}": data for name, data in WAVS.items()}
    for name, top in [("xz", "fsdd"), ("gz", "it-1.0.10")]
}

# For every file: what lies in a mirror, what the publisher sends, and the sha256 of what counts in both.
SMALL = {
    "fashion_mnist": [(data, data, summed(data)) for data in map(idx, (IMAGES[0], LABELS[0], IMAGES[1], LABELS[1]))],
    "a9a": [(data, data, summed(data)) for data in CENSUS],
    "sms_spam": [
        (data, zipped({"readme": b"", "SMSSpamCollection": data}), summed(data))
        for data in ["".join(MESSAGES).encode()]
    ],
    "banking77": [(data, data, summed(data)) for data in (table.encode() for table in TABLES)],
    "spoken_digits": [
        (
            tarred("w:xz", dict(reversed(ANYWHERE["xz"].items()))),
            tarred("w:gz", {"it-1.0.10/README.md": b"", **ANYWHERE["gz"], "it-1.0.10/other/0_a_0.wav": b""}),
            summed(LISTED),
        )
    ],
    "movietweetings": [
        (data, data, summed(data))
        for data in (
            "".join("::".join(map(str, rating)) + "\n" for rating in RATED).encode(),
            "".join(FILMS).encode(),
        )
    ],
    "cmudict": [(data, data, summed(data)) for data in ["".join(PRONOUNCED).encode()]],
}


def publish(monkeypatch, name, sums, address=None):
    """Register other sums, and an address, for the files of a data set."""
    files = [file._replace(sha256=sha256) for file, sha256 in zip(downloads.FILES[name], sums, strict=True)]
    if address:
        files = [file._replace(url=f"{address}{file.url.rpartition('/')[2]}") for file in files]
    monkeypatch.setitem(downloads.FILES, name, files)
    return files


@pytest.fixture(params=downloads.FILES)
def name(request, monkeypatch):
    """The name of a data set whose files are small ones from here on."""
    publish(monkeypatch, request.param, [sha256 for _, _, sha256 in SMALL[request.param]])
    sources._table.cache_clear()
    yield request.param
    sources._table.cache_clear()


@pytest.fixture
def mirror(tmp_path, monkeypatch, name):
    """A folder of the user's with the files of the data set, whose paths it returns."""
    paths = [tmp_path / "mirror" / file.path for file in downloads.FILES[name]]
    for path, (data, _, _) in zip(paths, SMALL[name], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("LOOKAHEAD_NB_DATA", str(tmp_path / "mirror"))
    monkeypatch.setitem(sys.modules, "pooch", None)  # nothing is downloaded
    return paths


def of(name):
    return pytest.mark.parametrize("name", [name], indirect=True)


# ------------------------------------------------------------------------------------------------- what is read in them


@of("fashion_mnist")
def test_pixels_are_read_split_and_scaled(mirror):
    data, other = load("fashion_mnist"), load("fashion_mnist", split_seed=1)
    assert [getattr(data, f"X_{part}").shape for part in PARTS] == [(50, 12), (10, 12), (20, 12)]
    assert np.bincount(data.y_validation).tolist() == [1] * 10
    np.testing.assert_array_equal(data.y_test, np.arange(20) % 10)
    assert data.fingerprint != other.fingerprint
    np.testing.assert_array_equal(data.y_test, other.y_test)
    scaled = np.concatenate([data.X_train, data.X_validation]).astype(np.float64)
    assert np.corrcoef(np.sort(scaled.ravel()), np.sort(IMAGES[0].ravel()))[0, 1] > 1 - 1e-12
    assert abs(data.X_train.mean(dtype=np.float64)) < 1e-7
    assert abs(data.X_train.std(dtype=np.float64) - 1) < 1e-7
    slope, shift = np.polyfit(IMAGES[1].ravel(), data.X_test.ravel().astype(np.float64), 1)
    np.testing.assert_allclose(data.X_test.ravel(), slope * IMAGES[1].ravel() + shift, atol=1e-6)


@of("a9a")
def test_indicators_are_read(mirror):
    data = load("a9a")
    assert [getattr(data, f"X_{part}").shape for part in PARTS] == [(30, 123), (6, 123), (12, 123)]
    np.testing.assert_array_equal(data.y_test, INCOMES[1])
    np.testing.assert_array_equal(data.X_test > 0, INDICATORS[1])
    rows = {(*row, label) for row, label in zip((data.X_train > 0).tolist(), data.y_train, strict=True)}
    assert rows < {(*row, label) for row, label in zip(INDICATORS[0].tolist(), INCOMES[0], strict=True)}


@of("sms_spam")
def test_messages_are_read(mirror):
    table = sources._table("sms_spam")
    np.testing.assert_array_equal(table.y, np.arange(30) % 5 == 0)
    texts = [line.partition("\t")[2] for line in MESSAGES]
    np.testing.assert_array_equal(table.X.toarray(), token_counts(texts, 512).toarray())
    data = load("sms_spam")
    assert data.official_test is False
    assert [np.bincount(getattr(data, f"y_{part}")).tolist() for part in PARTS] == [[14, 4], [5, 1], [5, 1]]


@of("banking77")
def test_queries_are_read_and_intents_are_numbered_by_the_alphabet(mirror):
    table = sources._table("banking77")
    texts, intents = zip(*QUERIES[0], *QUERIES[1], strict=True)
    assert "".join("abc"[label] for label in table.y) == "".join(intents)
    np.testing.assert_array_equal(table.X.toarray(), token_counts(texts, 1024).toarray())
    assert table.test.tolist() == list(range(30, 39))


@of("sms_spam")
def test_counts_can_stay_without_weights(mirror):
    assert available("sms_spam_counts")
    data = load("sms_spam_counts")
    texts = [line.partition("\t")[2] for line in MESSAGES]
    counts = token_counts(texts, 512).toarray()
    order = split._split(sources._table("sms_spam").y, (3, 1, 1), 0)
    for part, rows in zip(PARTS, order, strict=True):
        np.testing.assert_allclose(getattr(data, f"X_{part}"), counts[rows] / counts[order[0]].std(), rtol=1e-5)
    assert (data.y_train == load("sms_spam").y_train).all()
    mirror[0].unlink()
    assert not available("sms_spam_counts")


@of("spoken_digits")
def test_recordings_are_read(mirror):
    table = sources._table("spoken_digits")
    names = sorted(RECORDINGS)
    assert table.y.tolist() == [int(name[0]) for name in names]
    assert [names[row] for row in table.test] == [name for name in names if re.search(r"_[0-4]\.wav$", name)]
    np.testing.assert_array_equal(table.X, [log_mel(RECORDINGS[name], 8000) for name in names])
    data = load("spoken_digits")
    assert [np.bincount(getattr(data, f"y_{part}")).tolist() for part in PARTS] == [[12] * 3, [2] * 3, [10] * 3]


@of("movietweetings")
def test_ratings_are_read_in_the_order_of_time(mirror):
    from sklearn.utils import murmurhash3_32

    table = sources._table("movietweetings")
    order = sorted(range(30), key=lambda i: (RATED[i][3], i))
    genres = ["Comedy", "Drama", "Sci-Fi"]
    for row, label, i in zip(table.X, table.y, order, strict=True):
        user, film, rating, _ = RATED[i]
        expected = {abs(murmurhash3_32(user)) % 1024, 1024 + abs(murmurhash3_32(film)) % 1024}
        expected |= {2048 + genres.index(genre) for genre in GENRES[film].split("|") if genre}
        assert {*np.flatnonzero(row).tolist()} == expected
        assert label == (rating >= 8)
    assert table.X.shape == (30, 2051)
    data, other = load("movietweetings"), load("movietweetings", split_seed=1)
    for part, rows in zip(PARTS, (range(18), range(18, 24), range(24, 30)), strict=True):
        assert sorted(getattr(data, f"rows_{part}")) == sorted(getattr(other, f"rows_{part}")) == [*rows]
    assert data.fingerprint != other.fingerprint
    assert data.official_test is False


@of("cmudict")
def test_letters_are_read_with_their_phonemes_and_words_stay_whole(mirror):
    table = sources._table("cmudict")
    places = table.X.reshape(-1, 7, 27).argmax(axis=2)
    assert "".join("-abcdefghijklmnopqrstuvwxyz"[i] for i in places[:, 3]) != "".join(SPELLED)  # in random order
    words = places.reshape(81, 4, 7)[:, :, 3].tolist()
    assert sorted("".join("-abcdefghijklmnopqrstuvwxyz"[i] for i in word) for word in words) == SPELLED
    assert table.classes[table.y].tolist() == [SPOKEN["-abcdefghijklmnopqrstuvwxyz"[i]] for i in places[:, 3]]
    data = load("cmudict")
    assert data.classes.tolist() == ["AH0", "B", "K S"]
    assert data.n_classes == 3
    assert data.official_test is False
    parts = [getattr(data, f"rows_{part}") for part in PARTS]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(324))
    of_parts = [{*(rows // 4).tolist()} for rows in parts]
    assert sum(map(len, of_parts)) == len(set.union(*of_parts)) == 81
    np.testing.assert_array_equal(data.X_test > 0, table.X[parts[2]])


@of("fashion_mnist")
@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[9:],
        lambda packed: gzip.compress(gzip.decompress(packed)[:3]),
        lambda packed: gzip.compress(b"\0\0\x0d" + gzip.decompress(packed)[3:]),
        lambda packed: gzip.compress(b"\0\0\x08\x01" + gzip.decompress(packed)[4:]),
        lambda packed: gzip.compress(gzip.decompress(packed)[:-1]),
        lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"),
    ],
)
def test_a_malformed_idx_file_is_refused(mirror, monkeypatch, damage):
    mirror[0].write_bytes(damage(mirror[0].read_bytes()))
    publish(monkeypatch, "fashion_mnist", [summed(path.read_bytes()) for path in mirror])
    with pytest.raises(OSError, match=f"^{re.escape(mirror[0].name)} is not ") as error:
        load("fashion_mnist")
    assert one_sentence(error)


# ------------------------------------------------------------------------------------------------- a folder of the user


def test_a_folder_may_hold_what_the_address_gives(mirror, name):
    expected = load(name).fingerprint
    for path, file, (_, sent, _) in zip(mirror, downloads.FILES[name], SMALL[name], strict=True):
        path.unlink()
        path.with_name(file.url.rpartition("/")[2]).write_bytes(sent)
    sources._table.cache_clear()
    assert available(name)
    assert load(name).fingerprint == expected


def test_a_missing_file_of_the_folder_is_named(mirror, name):
    path = mirror[-1]
    path.unlink()
    assert not available(name)
    with pytest.raises(
        OSError, match=f"^{re.escape(str(path))} is missing: put https://.* or unset LOOKAHEAD"
    ) as error:
        load(name)
    assert one_sentence(error)
    assert not path.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"tampered",
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    ],
    ids=["other", "broken_off", "one_bit"],
)
def test_a_different_file_of_the_folder_is_refused_and_left_alone(mirror, name, damage):
    path = mirror[0]
    changed = damage(path.read_bytes())
    path.write_bytes(changed)
    with pytest.raises(OSError, match=f"^{re.escape(str(path))} is not the published file .* put https://") as error:
        load(name)
    assert one_sentence(error)
    assert path.read_bytes() == changed


@of("spoken_digits")
@pytest.mark.parametrize(
    "members", [dict(list(WAVS.items())[:-1]), WAVS | {"3_a_0.wav": b""}, WAVS | {"0_a_0.wav": b""}]
)
def test_recordings_that_lack_or_differ_are_refused(mirror, members):
    mirror[0].write_bytes(tarred("w:xz", {f"recordings/{name}": data for name, data in members.items()}))
    with pytest.raises(OSError, match="is not the published file"):
        load("spoken_digits")


@pytest.mark.parametrize("name", ["sms_spam", "spoken_digits"], indirect=True)
def test_no_damage_to_an_archive_goes_unseen(tmp_path, name):
    (file,) = downloads.FILES[name]
    for data in SMALL[name][0][:2]:
        whole = file.unpack(data)
        for position in np.linspace(0, len(data) - 1, 60).astype(int):
            path = tmp_path / "damaged"
            path.write_bytes(data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :])
            assert downloads._content(path, file) in (None, whole)
            path.write_bytes(data[:position])
            assert downloads._content(path, file) in (None, whole)


@of("sms_spam")
def test_an_archive_without_the_messages_is_refused(mirror):
    mirror[0].write_bytes(zipped({"readme": b""}))
    with pytest.raises(OSError, match="is not the published file"):
        load("sms_spam")


# ---------------------------------------------------------------------------------------------------------- the network


def test_without_pooch_the_extra_is_named(name, monkeypatch):
    monkeypatch.delenv("LOOKAHEAD_NB_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert not available(name)
    with pytest.raises(ModuleNotFoundError, match=rf"^{name} needs pooch: install the extra reproduce") as error:
        load(name)
    assert one_sentence(error)


@pytest.fixture
def cache(tmp_path, monkeypatch, name):
    """An empty cache folder, no mirror, and an address on this machine where nobody listens."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("LOOKAHEAD_NB_DATA", raising=False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    publish(monkeypatch, name, [sha256 for _, _, sha256 in SMALL[name]], "http://127.0.0.1:9/")
    return tmp_path / "lookahead-nb"


@pytest.fixture
def server(cache, name, monkeypatch):
    """A server of the small files; yields it with the list of what was asked of it."""
    asked = []
    sent = {
        file.url.rpartition("/")[2]: sent for file, (_, sent, _) in zip(downloads.FILES[name], SMALL[name], strict=True)
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = self.path.strip("/")
            asked.append(file)
            status, body, length = server.answer(sent[file])
            self.send_response(status)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.sent, server.answer = asked, sent, lambda data: (200, data, len(data))
        publish(monkeypatch, name, [sha256 for _, _, sha256 in SMALL[name]], f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def loaded_anew(name):
    sources._table.cache_clear()
    return load(name).fingerprint


def left_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_are_downloaded_once_and_in_silence(server, cache, name, monkeypatch):
    said = []
    monkeypatch.setattr(pytest.importorskip("pooch").get_logger(), "handle", said.append)
    assert not available(name)
    first = loaded_anew(name)
    assert not said
    assert available(name)
    assert server.asked == list(server.sent)
    folder = cache / Path(downloads.FILES[name][0].path).parent
    assert {path: path.read_bytes() for path in left_in(cache)} == {
        folder / file: data for file, data in server.sent.items()
    }
    assert loaded_anew(name) == first
    assert server.asked == list(server.sent)


def test_a_damaged_file_of_the_cache_is_never_used(server, cache, name):
    first = loaded_anew(name)
    path = sorted(left_in(cache))[0]
    path.write_bytes(b"damaged")
    assert loaded_anew(name) == first
    assert server.asked == [*server.sent, path.name]
    assert path.read_bytes() == server.sent[path.name]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda data: (200, data[::-1], len(data)), "did not send the published file"),
        (
            lambda data: (200, data[:9], len(data)),
            r"^could not download http://127.* \(ChunkedEncodingError\): connect, or set",
        ),
        (lambda data: (404, data[:0], 0), r"^could not download http://127.* \(HTTPError\): connect, or set"),
    ],
    ids=["other_bytes", "broken_off", "not_found"],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(server, cache, name, answer, message):
    server.answer = answer
    with pytest.raises(OSError, match=message) as error:
        load(name)
    assert one_sentence(error)
    assert f"set LOOKAHEAD_NB_DATA to a folder that holds {downloads.FILES[name][0].path}" in str(error.value)
    assert server.asked == [next(iter(server.sent))]
    assert left_in(cache) == []


def test_a_bad_split_seed_is_refused_before_anything_is_downloaded(server, name):
    with pytest.raises(ValueError, match=r"^split_seed must be "):
        load(name, -1)
    assert server.asked == []


def test_without_network_one_sentence_says_what_to_do(cache, name):
    with pytest.raises(OSError, match=r"^could not download http://127\.0\.0\.1:9/.*: connect, or set LOOKAH") as error:
        load(name)
    assert one_sentence(error)
    assert left_in(cache) == []


def test_a_downloaded_set_travels_by_its_name(mirror, name):
    data = load(name, 5)
    message = pickle.dumps(data)
    assert len(message) < 200
    assert pickle.loads(message).fingerprint == data.fingerprint
