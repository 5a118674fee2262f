"""Opens a report as a reader would, and says what there is to see.

    report.py REPORT.html [--screenshot FILE.png] [--width N] [--dark]

drives /usr/bin/chromium, or what CHROMIUM names, through its DevTools protocol, and
prints one JSON object: errors (console, exceptions, dialogs), requests (to anything but
the file), scripts, sections (how long the text of each is), rows (of the first table of
each), texts (the first five keys), sorted (whether a header sorts, by keyboard), found
(whether a search leaves what matches), overflow (whether the page scrolls sideways on a
phone). Python's standard library only.
"""

import argparse
import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

PATIENCE = 120
PHONE = 390
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]


class Browser:
    """Chromium and one page of it: commands go to its descriptor 3, and answers and
    events come from its 4, each with a zero byte behind it."""

    def __init__(self, profile):
        theirs, self.commands = os.pipe()
        self.answers, back = os.pipe()

        def descriptors():
            # Through others first: these may be 3 and 4 themselves.
            high = os.dup(theirs), os.dup(back)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(back)
        self.buffer, self.last, self.session, self.events = b"", 0, None, []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]

    def receive(self, until):
        """The next message, or None when it is `until`."""
        while b"\0" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                return None
            piece = os.read(self.answers, 1 << 16)
            if not piece:
                raise SystemExit("report.py: chromium ended")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, **params):
        """What a command answers. Events that come meanwhile are kept."""
        self.last += 1
        command = {"id": self.last, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        text = json.dumps(command).encode() + b"\0"
        while text:
            text = text[os.write(self.commands, text) :]
        until = time.monotonic() + PATIENCE
        while (message := self.receive(until)) is not None:
            if message.get("id") == self.last:
                if "error" in message:
                    raise SystemExit(f"report.py: {method}: {message['error']['message']}")
                return message["result"]
            self.happened(message)
        raise SystemExit(f"report.py: {method} was not answered")

    def happened(self, event):
        self.events.append(event)
        if event.get("method") == "Page.javascriptDialogOpening":
            # The page stands still until it is closed; the answer is of no interest.
            close = {"id": 0, "method": "Page.handleJavaScriptDialog"}
            close |= {"params": {"accept": False}, "sessionId": self.session}
            os.write(self.commands, json.dumps(close).encode() + b"\0")

    def evaluate(self, expression):
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"report.py: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if kind == "keyDown" and key == "Enter" else {}
            code = {"windowsVirtualKeyCode": 13} if key == "Enter" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, **text, **code)

    def resize(self, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1}
        self.send("Emulation.setDeviceMetricsOverride", mobile=width <= PHONE, **metrics)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wrong(events):
    """What the console, exceptions and dialogs say is wrong."""
    errors = []
    for event in events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            said = (arg.get("description") or str(arg.get("value")) for arg in params["args"])
            errors.append(" ".join(said))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            errors.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            errors.append(f"dialog: {params['message']}")
    return errors


def asked_for(events, page):
    """The URLs of requests, but for the file, and for what is in the file itself."""
    sent = (e["params"] for e in events if e.get("method") == "Network.requestWillBeSent")
    urls = [params["request"]["url"] for params in sent]
    return [url for url in urls if url != page and not url.startswith(("data:", "blob:"))]


# The cells of the first column of the keys that are shown.
TEXTS = """[...document.querySelectorAll("#keys tbody tr:not([hidden])")]
    .map((row) => row.cells[0].textContent)"""
SECTIONS = """Object.fromEntries([...document.querySelectorAll("main > section")]
    .map((section) => [section.id, section.innerText.length]))"""
ROWS = """Object.fromEntries([...document.querySelectorAll("main > section")]
    .map((section) => [section.id, section.querySelector("tbody")?.rows.length ?? 0]))"""
HEADER = "#keys thead th:first-child"


def sorts(browser):
    """Whether Enter on the header of the keys sorts them, up and then down."""
    before, seen = browser.evaluate(TEXTS), []
    for _ in range(2):
        browser.evaluate(f"document.querySelector('{HEADER} button').focus()")
        browser.press("Enter")
        state = browser.evaluate(f"document.querySelector('{HEADER}').ariaSort")
        seen.append((state, browser.evaluate(TEXTS)))
    # As JavaScript compares: by units of UTF-16.
    order = sorted(before, key=lambda text: text.encode("utf-16-be", "surrogatepass"))
    return seen == [("ascending", order), ("descending", order[::-1])]


def finds(browser, text):
    """Whether a search for `text` leaves rows, and only such that have it."""
    browser.evaluate("document.querySelector('#keys input').focus()")
    browser.send("Input.insertText", text=text)
    shown = browser.evaluate(TEXTS)
    browser.evaluate("""{
        const input = document.querySelector('#keys input');
        input.value = '';
        input.dispatchEvent(new Event('input'));
    }""")
    return bool(shown) and all(text.lower() in one.lower() for one in shown)


def look(browser, options):
    page = pathlib.Path(options.report).resolve().as_uri()
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.send(f"{domain}.enable")
    if options.dark:
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        browser.send("Emulation.setEmulatedMedia", features=[dark])
    browser.resize(options.width)
    browser.send("Page.navigate", url=page)
    until = time.monotonic() + PATIENCE
    while browser.evaluate("document.documentElement?.dataset.drawn") != "yes":
        if time.monotonic() > until:
            raise SystemExit(f"report.py: not drawn: {wrong(browser.events)}")
        time.sleep(0.1)
    if options.screenshot:
        size = browser.send("Page.getLayoutMetrics")["cssContentSize"]
        shot = browser.send(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1}
        )
        pathlib.Path(options.screenshot).write_bytes(base64.b64decode(shot["data"]))
    texts = browser.evaluate(TEXTS)
    seen = {
        "scripts": browser.evaluate("document.querySelectorAll('script').length"),
        "sections": browser.evaluate(SECTIONS),
        "rows": browser.evaluate(ROWS),
        "texts": texts[:5],
        "sorted": sorts(browser) if texts else None,
        "found": finds(browser, texts[0]) if texts else None,
    }
    browser.resize(PHONE)
    time.sleep(0.5)
    seen["overflow"] = browser.evaluate(f"document.documentElement.scrollWidth > {PHONE}")
    return {"errors": wrong(browser.events), "requests": asked_for(browser.events, page), **seen}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report")
    parser.add_argument("--screenshot")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    profile = tempfile.mkdtemp(prefix="report-")
    browser = Browser(profile)
    try:
        json.dump(look(browser, options), sys.stdout, indent=1)
        print()
    finally:
        browser.close()
        shutil.rmtree(profile, ignore_errors=True)


main()
