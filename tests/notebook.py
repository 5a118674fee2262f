"""Runs the notebook in a fresh kernel, as one who opens it would.

    notebook.py [--save] [CAPTURE]

Over the sample capture that the notebook names, or over CAPTURE in its place. Ends with
status 1 where a cell fails, which it shows, or a figure is missing. With --save what
came out is kept in the notebook, without what differs from run to run.
"""

import argparse
import base64
import io
import pathlib
import re
import sys
import tempfile

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from PIL import Image

NOTEBOOK = pathlib.Path(__file__).resolve().parent.parent / "notebooks/explore.ipynb"
# A cell that draws says so: each of them must show one picture.
DRAWS = "plt.subplots("
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def put_in_place(notebook, capture):
    """The one variable that whoever opens the notebook sets."""
    first = code_cells(notebook)[0]
    first.source, count = re.subn(
        r"^CAPTURE = .*$", lambda _: f"CAPTURE = {capture!r}", first.source, flags=re.MULTILINE
    )
    assert count == 1, "the first cell sets CAPTURE, once"


def run(notebook):
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    # Names in the notebook are seen from its own folder, wherever this is started.
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=120, resources=where, record_timing=False)
    manager = client.create_kernel_manager()
    try:
        with tempfile.TemporaryDirectory() as sockets:
            # Not TCP: a port would be open to all who are on the machine.
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
            client.execute()
    except CellExecutionError:
        # What failed is told below, from what the cell shows.
        pass
    except (TimeoutError, DeadKernelError) as error:
        print(f"notebook: {error}")


def outputs(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def images(cell):
    shown = [output.get("data", {}) for output in cell.outputs]
    return sum("image/png" in data for data in shown)


def faults(notebook):
    """What is wrong with each cell, if something is; nothing after the first that failed."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for error in outputs(cell, "error"):
            trace = ANSI.sub("", "\n".join(error.traceback))
            yield f"cell {number} failed:\n\n{cell.source}\n\n{trace}"
            return
        if cell.execution_count != number:
            yield f"cell {number} did not run to its end:\n\n{cell.source}"
            return
        for stream in outputs(cell, "stream"):
            if stream.name == "stderr":
                yield f"cell {number} warns:\n\n{cell.source}\n\n{stream.text}"
        if images(cell) != cell.source.count(DRAWS):
            yield f"cell {number} shows {images(cell)} pictures:\n\n{cell.source}"


def in_few_colours(png):
    """A plot needs no more than 64, and takes a third of the bytes."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(64)
    smaller = io.BytesIO()
    image.save(smaller, "png", optimize=True)
    return base64.b64encode(smaller.getvalue()).decode()


def save(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if data := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = in_few_colours(data)
    # Otherwise each Python that runs it would leave its version there.
    notebook.metadata["language_info"] = {"name": "python"}
    NOTEBOOK.write_text(nbformat.writes(notebook) + "\n")


def check_pins():
    """The project's one Python environment has what the notebook asks for."""
    folder = pathlib.Path(__file__).resolve().parent
    asked, there = (
        set((where / "requirements.txt").read_text().split()) for where in (NOTEBOOK.parent, folder)
    )
    assert asked <= there, f"tests/requirements.txt lacks {', '.join(sorted(asked - there))}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--save", action="store_true")
    arguments.add_argument("capture", nargs="?")
    arguments = arguments.parse_args()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if arguments.capture:
        if arguments.save:
            sys.exit("notebook: what is saved is of the sample capture")
        put_in_place(notebook, str(pathlib.Path(arguments.capture).resolve()))
    check_pins()
    run(notebook)
    found = list(faults(notebook))
    for fault in found:
        print(fault)
    if found:
        sys.exit(1)
    pictures = sum(images(cell) for cell in code_cells(notebook))
    assert pictures > 0, "a notebook without a picture"
    if arguments.save:
        save(notebook)
    print(f"{len(code_cells(notebook))} cells ran, {pictures} figures")


main()
