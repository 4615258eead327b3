"""The report of an evaluation as one HTML file that needs no network: tables, SVG plots, drawings as data URLs."""

import time
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from sam_backend.evaluation.evaluation import Evaluation
from sam_backend.evaluation.intervals import Share
from sam_backend.evaluation.label_report import LabelReport
from sam_backend.evaluation.matching import ACCEPTED, CORRECTED, DELETED, RELABELED
from sam_backend.evaluation.plots import curve_plot, reliability_plot
from sam_backend.evaluation.worst_cases import WorstCase

NO_LABEL = "(no label)"


def report_page(evaluation: Evaluation, cases: Sequence[WorstCase], label_studio_url: str) -> str:
    """Return the HTML of a report; links lead to the tasks in Label Studio."""
    everything = evaluation.everything
    body = [
        _heading(evaluation),
        _headline(evaluation),
        "<h2>What became of the predictions</h2>",
        _outcome_table([everything, *evaluation.labels]),
        _audit(evaluation),
        "<h2>Precision and recall by score</h2>",
        '<div class="plots">',
        *(_figure(report, curve_plot(report)) for report in _plotted(evaluation)),
        "</div>",
        "<h2>Which threshold?</h2>",
        _advice_table([everything, *evaluation.labels]),
        "<h2>Does the score mean what it says?</h2>",
        _reliability_text(evaluation),
        '<div class="plots">',
        *(_figure(report, reliability_plot(report.reliability)) for report in _plotted(evaluation)),
        "</div>",
        "<h2>Time</h2>",
        _time(evaluation),
        f"<h2>The {len(cases)} predictions that were changed most</h2>" if cases else "",
        _cases(cases, f"{label_studio_url.rstrip('/')}/projects/{evaluation.project}/data?task="),
        _definitions(evaluation),
    ]
    style = files("sam_backend.evaluation").joinpath("report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Evaluation: {escape(evaluation.title)}</title><style>{style}</style></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _plotted(evaluation: Evaluation) -> list[LabelReport]:
    several = [report for report in evaluation.labels if sum(report.outcomes.values())]
    return [evaluation.everything, *(several[:5] if len(several) > 1 else [])]


def _name(report: LabelReport) -> str:
    return "all" if report.label is None else report.label or NO_LABEL


def _heading(evaluation: Evaluation) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(evaluation.evaluated_at))
    subject = f"run {evaluation.run_id}, " if evaluation.run_id else ""
    calibrated = f", scores calibrated by run {evaluation.calibrated_by}" if evaluation.calibrated_by else ""
    return (
        f"<h1>{escape(evaluation.title)}</h1><p class=quiet>Project {evaluation.project}, {escape(subject)}"
        f"<code>{escape(evaluation.model_version or 'no predictions')}</code>{escape(calibrated)}. {when}.</p>"
    )


def _headline(evaluation: Evaluation) -> str:
    report = evaluation.everything
    reviewed = len(evaluation.tasks)
    tiles = [
        (f"{reviewed}", f"reviewed tasks; {evaluation.unreviewed} more have a prediction only"),
        (_percent(report.accepted.value), f"of {report.accepted.total} predicted regions accepted unchanged"),
        (_percent(report.precision.value), f"precision at IoU {evaluation.accept_iou:g}"),
        (_percent(report.recall.value), f"recall of {report.annotated} annotated objects"),
        (_number(report.mask_iou), "mean mask IoU of regions with a partner"),
        (_number(report.average_precision), "COCO AP"),
    ]
    cells = "".join(f"<div><b>{value}</b><span>{escape(words)}</span></div>" for value, words in tiles)
    few = (
        "<p class=few>Too few reviewed regions: the intervals below are wide.</p>"
        if report.precision.is_too_few
        else ""
    )
    return f"<div class=tiles>{cells}</div>{few}"


def _outcome_table(reports: Sequence[LabelReport]) -> str:
    rows = []
    for report in reports:
        counts = report.outcomes
        rows.append(
            f"<tr><th scope=row>{escape(_name(report))}</th><td class=bar>{_bar(report)}</td>"
            + "".join(f"<td>{counts[name]}</td>" for name in (ACCEPTED, CORRECTED, RELABELED, DELETED))
            + f"<td>{report.added}</td><td>{_number(report.corrected_iou)}</td><td>{_number(report.mask_iou)}</td>"
            f"<td>{_number(report.boundary_iou)}</td><td>{_share(report.precision)}</td><td>{_share(report.recall)}</td>"
            f"<td>{_number(report.average_precision)}</td></tr>"
        )
    head = (
        "<tr><th scope=col>label</th><th scope=col></th><th scope=col>accepted</th><th scope=col>corrected</th>"
        "<th scope=col>relabeled</th><th scope=col>deleted</th><th scope=col>added</th>"
        "<th scope=col>IoU of corrected</th><th scope=col>mask IoU</th><th scope=col>boundary IoU</th>"
        "<th scope=col>precision</th><th scope=col>recall</th><th scope=col>AP</th></tr>"
    )
    legend = "".join(f'<span><i class="{name}"></i>{name}</span>' for name in (ACCEPTED, CORRECTED, RELABELED, DELETED))
    return f"<p class=legend>{legend}</p><div class=scroll><table>{head}{''.join(rows)}</table></div>"


def _bar(report: LabelReport) -> str:
    total = sum(report.outcomes.values())
    if not total:
        return ""
    x, parts = 0.0, []
    for name, count in report.outcomes.items():
        width = 120 * count / total
        parts.append(f'<rect class="{name}" x="{x:.2f}" width="{width:.2f}" height="12"/>')
        x += width
    return f'<svg width="120" height="12" role="img" aria-label="shares of the outcomes">{"".join(parts)}</svg>'


def _audit(evaluation: Evaluation) -> str:
    if evaluation.audit is None:
        return (
            "<p class=quiet>If tasks were reviewed riskiest first, the reviewed ones are worse than the others. A "
            "random sample (<code>runs review --audit 5%</code>) has numbers for all.</p>"
        )
    report = evaluation.audit
    return (
        f"<p>Random sample: {report.accepted.total} regions, precision {_share(report.precision)}, recall "
        f"{_share(report.recall)}. Both hold for all tasks of the run; the order of the review does not matter.</p>"
    )


def _advice_table(reports: Sequence[LabelReport]) -> str:
    rows = []
    for report in reports:
        advice = report.advice
        if advice.threshold is None:
            words = (
                f"too few: {advice.regions} of at least {2 * advice.needed} regions"
                if advice.regions < 2 * advice.needed
                else "no threshold reaches it"
            )
            cells = f"<td colspan=3 class=quiet>{words}</td>"
        else:
            cells = (
                f"<td><b>{advice.threshold:.4f}</b></td><td>{_percent(advice.bound)}</td>"
                f"<td>{advice.kept} of {advice.regions}</td>"
            )
        rows.append(f"<tr><th scope=row>{escape(_name(report))}</th>{cells}</tr>")
    precision = reports[0].advice.precision
    return (
        f"<p>The lowest score that keeps a precision of {_percent(precision)}, with a confidence of 97.5 %. Use it in "
        "the next run of the same models: <code>--label-threshold LABEL=SCORE</code>.</p><div class=scroll><table>"
        "<tr><th scope=col>label</th><th scope=col>threshold</th><th scope=col>precision at least</th>"
        f"<th scope=col>regions kept</th></tr>{''.join(rows)}</table></div>"
    )


def _reliability_text(evaluation: Evaluation) -> str:
    error = evaluation.everything.reliability.error
    return (
        f"<p>Expected calibration error {error:.3f}: so far is the score from the share of good regions, on average. On"
        " the dashed line they are equal. <code>evaluate --calibrate</code> fits a map for later runs.</p>"
    )


def _time(evaluation: Evaluation) -> str:
    seconds = evaluation.action_seconds
    hours = evaluation.seconds_saved / 3600
    lead = sorted(task.lead_time_s for task in evaluation.tasks if task.lead_time_s)
    measured = f" The median time on a task was {lead[len(lead) // 2]:.0f} s." if lead else ""
    amount = f"{hours:.1f} hours" if abs(hours) >= 1 else f"{evaluation.seconds_saved / 60:.0f} minutes"
    return (
        f"<p>Estimate: the predictions saved <b>{amount}</b>. Assumed seconds: {seconds.draw:g} to draw a mask, "
        f"{seconds.accept:g} to accept, {seconds.correct:g} to correct, {seconds.relabel:g} to relabel, "
        f"{seconds.delete:g} to delete.{measured}</p>"
    )


def _cases(cases: Sequence[WorstCase], task_url: str) -> str:
    items = []
    for case in cases:
        one = case.region
        link = f'<a href="{escape(task_url)}{one.task}">task {one.task}</a>'
        image = (
            f'<img src="{case.drawing}" alt="predicted and final mask">'
            if case.drawing
            else f"<p class=quiet>{escape(case.problem)}</p>"
        )
        items.append(
            f"<figure>{image}<figcaption>{link}: {escape(one.label or NO_LABEL)}, {one.outcome}, score "
            f"{one.score:.2f}, IoU {one.iou:.2f}</figcaption></figure>"
        )
    legend = "<p class=legend><span><i class=predicted></i>predicted</span><span><i class=final></i>final</span></p>"
    return f"{legend}<div class=cases>{''.join(items)}</div>" if items else ""


def _definitions(evaluation: Evaluation) -> str:
    return (
        "<h2>Definitions</h2><p class=quiet>Predicted and annotated objects of a task are paired by the assignment "
        "with the largest sum of IoUs, from an IoU of 0.1 on. <i>Accepted</i>: the same label, IoU at least 0.99. "
        "<i>Corrected</i>: the same label, changed mask. <i>Relabeled</i>: another label. <i>Deleted</i>: no partner. "
        "<i>Added</i>: drawn by a person. Precision and recall count regions with IoU at least "
        f"{evaluation.accept_iou:g} and the same label. Intervals are 95 % (Clopper and Pearson), wider where regions "
        "of one task go together; <i>too few</i> marks those wider than 0.3. AP is COCO's, for IoU 0.50 to 0.95.</p>"
    )


def _figure(report: LabelReport, svg: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(_name(report))}</figcaption></figure>"


def _share(found: Share) -> str:
    if found.value is None:
        return "–"
    few = " <span class=few>too few</span>" if found.is_too_few else ""
    return f"{_percent(found.value)} <span class=quiet>{_percent(found.low)}–{_percent(found.high)}</span>{few}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
