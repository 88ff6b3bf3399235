"""A headless Chromium that tests drive with real keys, over the pipe of its devtools protocol; it needs no network."""

import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
FLAGS = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"]
PATIENCE = 60  # seconds for an answer, or for what a test waits for
# Chromium reads the protocol from file 3 and writes it to file 4. This puts our pipes there, then becomes Chromium.
ONTO_3_AND_4 = (
    "import os, sys; down, up = map(int, sys.argv[1:3]); down = os.dup(down) if down == 4 else down;"
    "os.dup2(up, 4); os.dup2(down, 3); os.execv(sys.argv[3], sys.argv[3:])"
)
KEYS = {  # key -> (code of the key, its text)
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
SHIFT = 8


class Browser:
    """One process and one tab.

    Parameters
    ----------
    profile : path
        An empty folder.
    """

    def __init__(self, profile):
        (to_read, self._down), (self._up, to_write) = os.pipe(), os.pipe()
        flags = [f"--{flag}" for flag in [*FLAGS, "remote-debugging-pipe", f"user-data-dir={profile}"]]
        start = [sys.executable, "-c", ONTO_3_AND_4, str(to_read), str(to_write), CHROMIUM, *flags, "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(start, pass_fds=(to_read, to_write), stdout=quiet, stderr=quiet)
        os.close(to_read)
        os.close(to_write)
        self._received, self._numbers, self.events = b"", itertools.count(1), []
        self._session = None
        tabs = [each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.send("Target.attachToTarget", targetId=tabs[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Accessibility"):
            self.send(f"{domain}.enable")

    def close(self):
        """Ends the process and waits for it."""
        self._session = None
        try:
            self.send("Browser.close")
        finally:
            os.close(self._down)
            os.close(self._up)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def send(self, method, **parameters):
        """Returns the answer to a command; events that arrive ahead of it are kept in events."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._down, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self._received:
                if not select.select([self._up], [], [], max(until - time.monotonic(), 0))[0]:
                    raise TimeoutError(f"Chromium gave no answer to {method} within {PATIENCE} s")
                read = os.read(self._up, 1 << 20)
                if not read:
                    raise EOFError(f"Chromium ended during {method}")
                self._received += read
            line, _, self._received = self._received.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, address):
        """Loads a page afresh."""
        self.send("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")
        self.send("Page.navigate", url=address)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def value(self, code):
        """Returns the value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{code}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def wait_for(self, condition):
        """Waits until a JavaScript expression is true, and returns its value."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := self.value(condition):
                return found
            time.sleep(0.02)
        raise TimeoutError(f"not true within {PATIENCE} s: {condition}")

    def press(self, *keys, shift=False):
        """Presses and releases keys, one after the other."""
        for key in keys:
            code, text = KEYS[key]
            event = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
            event["modifiers"] = SHIFT if shift else 0
            self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
            self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, selector):
        """Clicks with the mouse on the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{box}.scrollIntoView({{block: 'center'}})")
        x, y = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose_file(self, selector, path):
        """Lets a file input hold a file."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def show_as(self, *, width=1280, height=900, media="", **features):
        """Sets the size of the screen, the medium and its features, with _ for a hyphen."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", media=media, features=named)

    def names(self):
        """Returns role and accessible name of everything that can be focused."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        focusable = [
            each for each in nodes if not each["ignored"] and any(p["name"] == "focusable" for p in each["properties"])
        ]
        return [(each["role"]["value"], each.get("name", {}).get("value", "")) for each in focusable]
