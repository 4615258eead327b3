"""Benchmark results as files, and the tables of the documentation that are made from them.

    python tests/benchmarks/report.py run brush_rle -- --rounds 15    # runs brush_rle.py, writes results/brush_rle.json
    python tests/benchmarks/report.py render                          # writes the tables of README.md and docs/

`run` stores the benchmark's last line of output, a JSON object, together with date, machine, load, commit and command.
`render` replaces what stands between `<!-- table: NAME -->` and `<!-- end of table -->` in the documentation.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md")))
TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.S)

Result = dict[str, Any]


def processor() -> str:
    """Return the processor's name."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def run(name: str, arguments: list[str], python: str) -> int:
    """Run one benchmark, show its output, and store its last line."""
    load = os.getloadavg()[0]
    command = [python, str((HERE / f"{name}.py").relative_to(ROOT)), *arguments]
    print("$", *command, flush=True)
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(process.stdout, end="", flush=True)
    if process.returncode:
        return process.returncode
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    RESULTS.mkdir(exist_ok=True)
    about = {
        "command": " ".join(["python", *command[1:]]),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    result = json.loads(process.stdout.strip().splitlines()[-1])
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "result": result}, indent=1) + "\n")
    return 0


def result_of(name: str) -> Result:
    """Return what a benchmark measured last.

    Raises:
        FileNotFoundError: it was not run yet.
    """
    found: Result = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def machine_of(name: str) -> str:
    """Return one sentence about a result: machine, load, date, command."""
    about = result_of(name)["about"]
    return (
        f"`{about['command']}`, {about['date']}, {about['machine']}, load {about['load_before']} at the start and"
        f" {about['load_after']} at the end."
    )


def brush_rle() -> str:
    """Return the table of our RLE codec beside Label Studio's converter."""
    rows = [
        "| mask | bytes | encode, ms of processor time | converter | ratio | decode, ms | converter | ratio |",
        "|---|" + "---:|" * 7,
    ]
    for case in result_of("brush_rle")["result"]["results"]:
        (height, width), ms, ratio = case["size"], case["median_p95_ms"], case["times_faster"]
        cells = [f"{case['mask']} {width} x {height}", case["bytes"]]
        for way in ("encode", "decode"):
            cells += [f"{ms[way][0]:.2f}", f"{ms[f'{way}, converter'][0]:.1f}", f"{ratio[way]:.1f}"]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*rows, "", machine_of("brush_rle")])


def request_parsing() -> str:
    """Return the table of the parsing of a click on a task with many regions."""
    result = result_of("request_parsing")["result"]
    rows = ["| parser | median, ms of processor time | memory beside the body, MiB |", "|---|---:|---:|"]
    words = {"before": "orjson, every field", "after": "msgspec without the masks, the fields that are used"}
    for name, row in result["rows"].items():
        rows.append(f"| {words[name]} | {row['median_ms']} | {row['growth_mib']} |")
    return "\n".join([*rows, "", f"Body of {result['bytes'] / 1e6:.1f} MB. {machine_of('request_parsing')}"])


def small_objects() -> str:
    """Return the table of small objects with and without crops."""
    result = result_of("small_objects")["result"]
    rows = ["| object, pixels | prompt | IoU, whole image | IoU, with crops | crops |", "|---:|---|---:|---:|---:|"]
    for row in result["results"]:
        rows.append(
            f"| {row['pixels']} | {row['prompt']} | {row['whole_iou']:.2f} | {row['closer_iou']:.2f} |"
            f" {row['crops']:.1f} |"
        )
    width, height = result["image"]
    return "\n".join([*rows, "", f"Images of {width} x {height} pixels. {machine_of('small_objects')}"])


def embedding_run() -> str:
    """Return the table of a run that embeds more images than its folder holds."""
    result = result_of("embedding_run")["result"]
    memory = [*result["memory_mib"], *result["memory_mib"][:1]]
    rows = [
        "| measurement | result |",
        "|---|---:|",
        f"| images, with embeddings of {result['embedding_mib']:g} MiB | {result['images']:,} |",
        f"| limit of the folder | {result['limit_mib']:,} MiB |",
        f"| largest size of the folder, unfinished files included | {result['largest_mib']:,} MiB |",
        f"| memory of the process, first and last tenth | {memory[0]:.0f} and {memory[-2]:.0f} MiB |",
    ]
    return "\n".join([*rows, "", machine_of("embedding_run")])


def click_latency() -> str:
    """Return the table of clicks over HTTP."""
    result = result_of("click_latency")["result"]
    regions, ahead = result["regions"], result["prefetched"]
    rows = [
        "| click over HTTP | median, ms | ratio | shortest, ms | ratio |",
        "|---|---:|---:|---:|---:|",
        f"| image embedded, task without regions | {regions['none_ms']} | 1 | {regions['least_none_ms']} | 1 |",
        f"| the same, 300 brush regions in the task ({regions['megabytes']} MB) | {regions['many_ms']} |"
        f" {regions['ratio']:.2f} | {regions['least_many_ms']} | {regions['least_ratio']:.2f} |",
        f"| of the first row: outside fetch, decode, embed, segment, encode | {regions['outside_model_ms']} | |"
        f" {regions['least_outside_model_ms']} | |",
        f"| embedded ahead: first click, 3 s after the task was opened | {ahead['first_ms']} | {ahead['ratio']:.2f} |"
        f" {ahead['least_first_ms']} | {ahead['least_ratio']:.2f} |",
        f"| the same: the clicks after it | {ahead['warm_ms']} | 1 | {ahead['least_warm_ms']} | 1 |",
        f"| the same: one more click, after a pause of 3 s | {ahead['rested_ms']} |"
        f" {ahead['rested_ms'] / ahead['warm_ms']:.2f} | {ahead['least_rested_ms']} |"
        f" {ahead['least_rested_ms'] / ahead['least_warm_ms']:.2f} |",
    ]
    found = f"{ahead['embedded']} of {ahead['tasks']} tasks were embedded 3 s after they were opened."
    return "\n".join([*rows, "", f"{found} {machine_of('click_latency')}"])


def start() -> str:
    """Return the table of the service's first answers."""
    result = result_of("start")["result"]
    rows = [
        "| s after the start of the process | /health, median | shortest | a click, median | shortest |"
        " slowest /health while loading |",
        "|---|" + "---:|" * 5,
    ]
    for name, row in result["models"].items():
        health, first, slowest = row["health_s"], row["click_s"], row["slowest_health_s"]
        rows.append(f"| {name} | {health[0]} | {health[1]} | {first[0]} | {first[1]} | {slowest[0]} |")
    return "\n".join([*rows, "", f"{result['rounds']} starts of each. {machine_of('start')}"])


def service_memory() -> str:
    """Return the table of the service's memory."""
    result = result_of("service_memory")["result"]
    rows = [
        "| model | images | clicks | all processes, MB | after the first click | answering process, resident, MB |"
        " highest |",
        "|---|" + "---:|" * 6,
    ]
    for name, row in result["models"].items():
        cells = [row[key] for key in ("images", "clicks", "after_mb", "first_mb", "worker_mb", "highest_mb")]
        rows.append(f"| {name} | {' | '.join(f'{cell:,.0f}' for cell in cells)} |")
    about = f"Images of {result['megapixels']} megapixels."
    return "\n".join([*rows, "", f"{about} {machine_of('service_memory')}"])


def bulk_throughput() -> str:
    """Return the table of a run with networks beside the bare loop."""
    result = result_of("bulk_throughput")["result"]["rows"]["networks"]
    tasks, loading = result["tasks"], result["loading_cpu_s"]
    run = result["run_cpu_s"] - loading
    rows = [
        "| YOLOv8n and MobileSAM, at most 8 boxes | processor time per image, s | images per second of the bare loop |",
        "|---|---:|---:|",
        f"| detect, embed, segment, the images in memory | {result['loop_cpu_s'] / tasks:.2f} | 1 |",
        f"| run over the real Label Studio, models loaded | {run / tasks:.2f} |"
        f" {result['cpu_ratio_without_loading']:.2f} by processor time |",
        f"| the same with {loading:.1f} s to load the models | {result['run_cpu_s'] / tasks:.2f} |"
        f" {result['cpu_ratio']:.2f} by processor time, {result['ratio']:.2f} by the clock |",
    ]
    return "\n".join([*rows, "", f"{tasks} photographs. {machine_of('bulk_throughput')}"])


def published_path() -> str:
    """Return the table of a warm click beside the published path."""
    result = result_of("published_path")["result"]
    rows = [
        "| warm click over HTTP, MobileSAM, 12 megapixels | published, median ms | ours | ratio | of the shortest |",
        "|---|" + "---:|" * 4,
    ]
    words = {
        "other_image": "another image than in the click before (set_image, predict, mask2rle)",
        "same_image": "the same image (predict, mask2rle)",
    }
    for name, about in words.items():
        row = result[name]
        rows.append(
            f"| {about} | {row['theirs_ms'][0]:,.0f} | {row['ours_ms'][0]:,.0f} | {row['ratio'][0]} x |"
            f" {row['ratio'][1]} x |"
        )
    return "\n".join([*rows, "", f"{result['rounds']} clicks of each. {machine_of('published_path')}"])


CLASSICAL_ROWS = (  # benchmark, set, group, what the documentation says about them
    ("classical_quality", "eval-images", "all", "constants set on these; 13 fit the network"),
    ("classical_quality", "eval-images-more", "ecssd", "of ECSSD (not used for the network)"),
    ("classical_training", "eval-images-more", "coco", "of COCO (network of each third fitted on the other two)"),
)


def classical_quality() -> str:
    """Return the table of the classical segmenter's masks on photographs."""
    rows = [
        "| photographs | rectangle | 1 click | 3 clicks | 5 clicks | 10 clicks | clicks to IoU .85 | harmful clicks |",
        "|---|" + "---:|" * 7,
    ]
    figures = [result_of(name)["result"]["sets"][folder][group] for name, folder, group, _ in CLASSICAL_ROWS]
    words = [f"{row['objects']:g} {about}" for row, (*_, about) in zip(figures, CLASSICAL_ROWS, strict=True)]
    figures.append(_mean_by_objects(figures[1:]))
    words.append("the two rows above together")
    for name, row in zip(words, figures, strict=True):
        ious = [row[key] for key in ("box", "clicks_1", "clicks_3", "clicks_5", "clicks_10")]
        cells = [name, *(f"{value:.3f}".lstrip("0") for value in ious), f"{row['noc_85']:.2f}"]
        rows.append("| " + " | ".join([*cells, f"{100 * row['harmful_share']:.1f} %"]) + " |")
    return "\n".join([*rows, "", machine_of("classical_quality"), "", machine_of("classical_training")])


def classical_scores() -> str:
    """Return the table of the classical segmenter's scores beside the measured IoU."""
    rows = [
        "| ECSSD and COCO together | rectangle | 1 click | 3 clicks | 5 clicks | 10 clicks |",
        "|---|" + "---:|" * 5,
    ]
    figures = [result_of(name)["result"]["sets"][folder][group] for name, folder, group, _ in CLASSICAL_ROWS[1:]]
    mean = _mean_by_objects(figures)
    for words, prefix in (("mean score", "score_"), ("mean IoU", "clicks_")):
        box = mean["box_score" if prefix == "score_" else "box"]
        cells = [f"{value:.3f}".lstrip("0") for value in (box, *(mean[f"{prefix}{k}"] for k in (1, 3, 5, 10)))]
        rows.append("| " + " | ".join([words, *cells]) + " |")
    return "\n".join(rows)


def _mean_by_objects(groups: list[Result]) -> Result:
    """Return the mean of each figure over the objects of several groups."""
    total = sum(group["objects"] for group in groups)
    return {key: sum(group[key] * group["objects"] for group in groups) / total for key in groups[0]}


def models() -> str:
    """Return the table of all models of the catalogue, with their published quality and their recorded speed."""
    from sam_model.benchmark.recorded_speeds import record_description, recorded_speed
    from sam_model.weights.catalog import CATALOG
    from sam_model.weights.folders import FOLDERS

    head = ["model", "licence", "weights from", "file", "parameters", "published quality", "PyTorch", "OpenVINO"]
    rows = [_cells(head), "|---|---|---|---:|---:|---|---:|---:|"]
    for weights in CATALOG:
        speeds = [recorded_speed(weights.model, runtime) for runtime in ("torch", "openvino")]
        rows.append(
            _cells(
                [
                    f"`{weights.model}`",
                    _licence(weights.licence),
                    f"[{weights.url.split('/')[2]}]({weights.url})",
                    f"{weights.size / 1e6:,.1f} MB" if weights.size else "",
                    f"{_parameters(weights.model) / 1e6:.1f} M",
                    _published(weights.model),
                    *("" if speed is None else f"{speed.embed_ratio:.2f}" for speed in speeds),
                ]
            )
        )
    for folder in FOLDERS:
        source, licence = f"[huggingface.co](https://huggingface.co/{folder.repository})", _licence(folder.licence)
        gate = ", after the authors grant access" if folder.is_gated else ""
        rows.append(_cells([f"`{folder.model}`", licence, source + gate, "", "", _published(folder.model), "", ""]))
    about = "[licence and sources](#the-classical-segmenter)"
    measured = "[measured](benchmarks.md#classical-segmenter)"
    rows.append(_cells(["`classical`", "Apache-2.0", f"in the package; {about}", "", "6,854", measured, "", ""]))
    return "\n".join([*rows, "", record_description()])


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _licence(licence: str) -> str:
    return licence if licence == "Apache-2.0" else f"**{licence}**"


def _published(model: str) -> str:
    from sam_model.benchmark.published_quality import PUBLISHED

    quality = PUBLISHED.get(model)
    return "" if quality is None else f"{quality.value:g} {quality.metric}, {quality.source}"


def _parameters(model: str) -> int:
    from sam_model.benchmark.compared_model import parameters_of

    return parameters_of(model)


def runtimes() -> str:
    """Return the table of the networks beside their authors' code."""
    rows = [
        "| work | authors' code, ms | PyTorch | automatic runtime | the same, processor time | median IoU |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    notes, sampled = [], []
    for name, row in result_of("runtimes")["result"]["rows"].items():
        if "peer" not in row:
            notes.append(
                f"{name} of 20 masks of both runtimes: minimum {row['min']:.3f}, mean {row['mean']:.3f}; for"
                f" {row['reordered']} of 12 points, another candidate came first."
            )
            continue
        ratios = [f"{row[side][key]:.1f} x" for side, key in _RATIOS]
        iou = f"{row['iou']['median']:.2f}" if "iou" in row else ""
        rows.append(_cells([name, f"{row['peer']['min_ms']:,.0f}", *ratios, iou]))
        if "extrapolated" in row:
            sampled.append(f"{name}: of the authors' code, one point in {row['extrapolated']:g} was measured.")
    return "\n".join([*rows, "", *sampled, *notes, _about_runtimes()])


_RATIOS = (("torch", "ratio_of_minima"), ("auto", "ratio_of_minima"), ("auto", "cpu_ratio"))
SHORT_ROWS = {  # of the table in the README: rows of the result, and their Chinese names
    "MobileSAM, embed, 1080p": "MobileSAM，图像嵌入，1080p",
    "MobileSAM, 1 point, 12 MP": "MobileSAM，一个点，1200 万像素",
    "MobileSAM, 1 box, 12 MP": "MobileSAM，一个框，1200 万像素",
    "MobileSAM, everything, 32 x 32 points, 1080p": "MobileSAM，分割全部（32 x 32 个点），1080p",
    "SAM-b, embed, 1080p": "SAM-b，图像嵌入，1080p",
    "yolov8x, 1080p": "yolov8x，1080p",
    "yolov8n-seg, 1080p": "yolov8n-seg，1080p",
    "FastSAM-s, 1080p": "FastSAM-s，1080p",
}


def speed(head: str = "| work | times as fast as the authors' code |", is_chinese: bool = False) -> str:
    """Return the README's table: how many times as fast as the authors' code we are, by processor time."""
    found = result_of("runtimes")["result"]["rows"]
    rows = [
        _cells([chinese if is_chinese else name, f"{found[name]['auto']['cpu_ratio']:.1f}"])
        for name, chinese in SHORT_ROWS.items()
        if name in found
    ]
    return "\n".join([head, "|---|---:|", *rows])


def speed_in_chinese() -> str:
    """Return the same table for the Chinese README."""
    return speed("| 任务 | 相对作者代码的速度（倍） |", is_chinese=True)


def _about_runtimes() -> str:
    """Return a sentence about the result: rows are measured at different times."""
    found = result_of("runtimes")
    about = found["about"]
    rows = [row for row in found["result"]["rows"].values() if "load" in row]
    loads = sorted(row["load"] for row in rows)
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    return (
        f"`{about['command']}`, {about['date']}, {about['machine']}, load {loads[0]:g} to {loads[-1]:g}; commits"
        f" {commits}."
    )


def exemplars() -> str:
    """Return the table of objects that one example finds."""
    result = result_of("exemplars")["result"]
    rows = ["| images | precision | recall |", "|---|---:|---:|"]
    words = {
        "drawn": "other classes of another shape and colour",
        "drawn_alike": "other classes of the same shape or colour",
    }
    for name, about in words.items():
        row = result[name]
        rows.append(f"| {result['images']} drawn, {about} | {row['precision']:.3f} | {row['recall']:.3f} |")
    if "photographs" in result:
        row = result["photographs"]
        rows.append(
            f"| {row['images']} photographs with pasted objects | {row['precision_at_10']:.2f} of the first ten | |"
        )
    search = result["search"]
    found = f"A search over {search['rows']:,} descriptors takes {search['seconds']:g} s"
    return "\n".join([*rows, "", f"{found} ({search['examples']} examples). {machine_of('exemplars')}"])


TABLES: dict[str, Callable[[], str]] = {
    "runtimes": runtimes,
    "speed": speed,
    "speed-zh": speed_in_chinese,
    "brush-rle": brush_rle,
    "request-parsing": request_parsing,
    "small-objects": small_objects,
    "exemplars": exemplars,
    "embedding-run": embedding_run,
    "click-latency": click_latency,
    "start": start,
    "service-memory": service_memory,
    "bulk-throughput": bulk_throughput,
    "published-path": published_path,
    "classical-quality": classical_quality,
    "classical-scores": classical_scores,
    "models": models,
}


def rendered(text: str) -> str:
    """Return a page with its tables made anew.

    Raises:
        KeyError: a table has no function in `TABLES`.
    """
    return TABLE.sub(lambda match: f"{match[1]}{TABLES[match[2]]().strip()}\n{match[3]}", text)


def main() -> int:
    """Run one benchmark, or render the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("name")
    run_parser.add_argument("--python", default=sys.executable, help="for a benchmark that needs another environment")
    run_parser.add_argument("arguments", nargs="*")
    commands.add_parser("render")
    args = parser.parse_args()
    if args.command == "run":
        return run(args.name, args.arguments, args.python)
    for page in PAGES:
        page.write_text(rendered(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
