// Show the state of the backend and its runs, read from the JSON API. Text from the API is set as textContent, never as
// markup.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const ACTIVE = ["queued", "running", "undoing"];
const FAST_MS = 1000, SLOW_MS = 10000;
const TOKEN_KEY = "label-studio-sam token";  // in sessionStorage, which ends with the tab

async function request(path, body) {
  const options = body === undefined ? {} :
    {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const token = sessionStorage.getItem(TOKEN_KEY);
  const authorization = token ? {Authorization: `Bearer ${token}`} : {};
  let response, answer;
  try {
    response = await fetch(path, {...options, headers: {Accept: "application/json", ...authorization, ...options.headers}});
    answer = await response.json();
  } catch {
    throw new Error("The backend does not answer: check that it is running.");
  }
  if (response.status === 401 && (response.headers.get("WWW-Authenticate") || "").startsWith("Bearer")) {
    showTokenForm(Boolean(token));
    throw new Error(token ? "The backend refused the API token." : "The backend requires its API token.");
  }
  if (!response.ok) throw new Error(answer.error || `The backend answered ${response.status}.`);
  return answer;
}

function showTokenForm(isWrong) {
  const form = $("#token-form");
  $("#token-error").textContent = isWrong ? "The backend refused this token." : "";
  if (!form.hidden) return;
  form.hidden = false;
  form.token.focus();
}

function element(tag, text, attributes = {}) {
  const created = document.createElement(tag);
  if (text !== undefined) created.textContent = text;
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  return created;
}

const announce = text => { $("#announcements").textContent = text; };
const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${bytes.toFixed(unit && bytes < 10 ? 1 : 0)} ${units[unit]}`;
}

// Status of the backend

let status = null;

async function showStatus() {
  status = await request("api/status");
  const {model, cache, label_studio: labelStudio, stored_embeddings: stored} = status;
  $("#embed-button").hidden = !stored;
  const dot = element("span", undefined, {class: "dot", "data-state": model.state});
  const text = model.state === "ready" ? model.name : `${model.name}, ${model.progress || model.state}`;
  $("#model").replaceChildren(dot, text);
  $("#model").title = model.version;
  $("#cache").textContent = cacheText(cache) + (stored ? `; ${stored.files.toLocaleString()} stored, ${size(stored.bytes_held)}` : "");
  $("#label-studio").replaceChildren(labelStudio.url ?
    element("a", labelStudio.url, {href: labelStudio.url}) : "not connected yet");
  const problems = status.checks.filter(check => !check.ok);
  $("#problems").hidden = !problems.length;
  $("#problems ul").replaceChildren(...problems.map(problem => {
    const item = element("li", problem.problem);
    if (problem.next_step) item.append(element("span", problem.next_step));
    return item;
  }));
}

function cacheText(cache) {
  const lookups = (cache.hits || 0) + (cache.misses || 0);
  const images = count(cache.images ?? cache.entries ?? 0, "image");
  return lookups ? `${images}, ${Math.round(100 * cache.hits / lookups)} % hits` : images;
}

// Models

let modelList = null;
let isModelListChanging = false;

async function showModels() { fillModels(await request("api/models")); }

function fillModels(answer) {
  const before = modelList;
  modelList = answer;
  const {default: used, switch: change} = answer;
  $("#model-reason").textContent = used.reason ? `${used.name} was chosen by SAM_MODEL=auto: ${used.reason}.` : "";
  const failed = change && change.state === "failed";
  $("#model-problem").textContent = failed ? `Could not switch to ${change.name}: ${change.problem}. ${used.name} goes on.` : (change && change.warning) || "";
  isModelListChanging = answer.models.some(model => model.is_downloading) || Boolean(change) && change.state === "loading";
  if (before && before.default.name !== used.name) announce(`${used.name} answers clicks.`);
  const rank = model => model.is_default ? 0 : model.presence === "present" || model.is_downloading ? 1 : 2;
  const rows = [...answer.models].sort((a, b) => rank(a) - rank(b)).map(model => modelRow(model, answer));
  const shown = JSON.stringify(answer);
  if ($("#models").dataset.shown === shown) return;  // keeps the focus on a button
  const focused = document.activeElement?.dataset?.action;
  $("#models").dataset.shown = shown;
  $("#models tbody").replaceChildren(...rows);
  if (focused) $(`[data-action="${focused}"]`)?.focus();
}

function modelRow(model, answer) {
  const row = element("tr", undefined, model.is_default ? {class: "used"} : {});
  const name = element("td", model.name);
  if (model.file) name.append(element("span", model.file));
  const times = Object.entries(model.embedding_time).map(([runtime, ratio]) => `${ratio.toFixed(1)} ${runtime === "torch" ? "PyTorch" : "OpenVINO"}`);
  const state = element("td");
  fillModelState(state, model, answer.switch);
  const actions = element("td");
  const isSwitching = Boolean(answer.switch) && answer.switch.state === "loading";
  if (!model.is_downloading && ["missing", "partial"].includes(model.presence)) actions.append(modelButton(model, "download", "Download"));
  if (!model.is_default && model.presence === "present") {
    const button = modelButton(model, "use", "Use");
    button.disabled = isSwitching;
    actions.append(button);
  }
  row.append(name, element("td", model.licence ? model.licence + (model.is_gated ? ", access on request" : "") : "your file"), element("td", model.bytes ? size(model.bytes) : ""), element("td", times.join(" · ")), state, actions);
  return row;
}

function fillModelState(cell, model, change) {
  const {progress} = model;
  if (progress) {
    const bar = element("progress", undefined, {max: progress.total, "aria-label": `Download of ${model.name}`});
    bar.value = progress.bytes;
    cell.append(bar, `${size(progress.bytes)} of ${size(progress.total)}`);
  } else if (model.is_downloading) cell.append("connecting…");
  else if (change && change.name === model.name && change.state === "loading") cell.append("loading…");
  else if (model.is_default) cell.append("answers clicks");
  else if (model.is_for_projects) cell.append(model.is_loaded ? "loaded for projects" : "for projects");
  else cell.append({present: "ready to use", missing: "not downloaded", partial: "partly downloaded", "wrong size": "wrong size; delete the file"}[model.presence] || model.presence);
  if (model.problem) cell.append(element("span", model.problem, {class: "error"}));
}

function modelButton(model, action, text) {
  const button = element("button", text, {type: "button", "aria-label": `${text} ${model.name}`, "data-action": `${action} ${model.name}`});
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      fillModels(await request(`api/models/${encodeURIComponent(model.name)}/${action}`, {}));
      await poll();
    } catch (error) {
      $("#model-problem").textContent = error.message;
      button.disabled = false;
    }
  });
  return button;
}

// Clicks

async function showLastClicks() {
  const {clicks, refused} = await request("api/clicks");
  const total = Object.values(refused).reduce((sum, number) => sum + number, 0);
  const reasons = Object.entries(refused).map(([reason, number]) => `${number} ${reason.replace("_", " ")}`);
  $("#refused").textContent = `${count(total, "request")} refused since the start: ${reasons.join(", ")}.`;
  $("#refused").hidden = !total;
  $("#no-clicks").hidden = clicks.length > 0;
  $("#clicks").hidden = !clicks.length;
  $("#clicks tbody").replaceChildren(...clicks.map(clickRow));
}

function clickRow(click) {
  const row = element("tr");
  const time = element("td");
  time.append(element("time", new Date(click.time).toLocaleTimeString(), {datetime: click.time, title: click.request_id || ""}));
  const [first, ...others] = click.tasks;
  const result = element("td", click.result || "none");
  if (click.reason) result.append(element("span", click.reason));
  if (!click.result) result.setAttribute("class", "error");
  const {total, ...stages} = click.milliseconds;
  const times = element("td", Math.round(total).toLocaleString());
  times.append(element("span", Object.entries(stages).map(([name, each]) => `${name} ${each < 10 ? each : Math.round(each)}`).join(" · ")));
  row.append(time, element("td", click.project ?? "?"), element("td", others.length ? `${first} and ${others.length} more` : first ?? "?"),
    element("td", click.prompts), element("td", click.model || ""), result, times);
  return row;
}

// Runs

let runs = [];
let projects = [];

async function showRuns() {
  const before = new Map(runs.map(run => [run.id, run.state]));
  const answer = await request("api/runs");
  runs = answer.runs;
  const unreadable = (answer.unreadable || []).map(run => `Could not read run ${run.id}: ${run.cause}`);
  $("#runs-problem").textContent = [answer.problem, ...unreadable].filter(Boolean).join(". ");
  $("#runs-problem").hidden = !$("#runs-problem").textContent;
  $("#no-runs").hidden = runs.length > 0;
  const list = $("#runs");
  const items = runs.map(run => {
    const item = $(`[data-run="${run.id}"]`, list) || newItem(run.id);
    fillItem(item, run);
    return item;
  });
  if (items.some((item, index) => list.children[index] !== item) || list.children.length !== items.length) {
    list.replaceChildren(...items);
  }
  for (const run of runs) {
    const state = before.get(run.id);
    if (state && state !== run.state) announce(`Run of ${run.project_title || "project " + run.project} is ${run.state}.`);
  }
}

function newItem(id) {
  const item = $("#run-template").content.cloneNode(true).firstElementChild;
  item.dataset.run = id;
  $("details", item).addEventListener("toggle", () => showFailures(item, id));
  return item;
}

function fillItem(item, run) {
  const {counts} = run;
  const done = counts.written + counts.skipped + counts.failed;
  $(".title", item).textContent = `${run.project_title || "Project " + run.project}: ${models(run)}`;
  $(".badge", item).textContent = run.state;
  $(".badge", item).dataset.state = run.state;
  $(".id", item).textContent = run.id;
  $(".installation", item).textContent = run.installation;
  const bar = $("progress", item);
  const fraction = run.state === "undoing" ? counts.undone / Math.max(1, counts.written) : done / Math.max(1, counts.total || 0);
  bar.hidden = !["running", "paused", "interrupted", "undoing"].includes(run.state);
  bar.value = Math.min(1, fraction);
  bar.setAttribute("aria-label", `${Math.round(100 * fraction)} percent done`);
  $(".numbers", item).textContent = numbers(run, done);
  $(".message", item).textContent = run.message;
  $(".message", item).classList.toggle("error", run.state !== "finished");
  $(".message", item).hidden = !run.message;
  const details = $("details", item);
  details.hidden = !counts.failed;
  $("summary", details).textContent = `${count(counts.failed, "task")} failed`;
  const actions = actionsOf(run);
  const buttons = $(".buttons", item);
  if (buttons.dataset.actions !== actions.join()) {
    buttons.dataset.actions = actions.join();
    buttons.replaceChildren(...actions.map(action => actionButton(run, action)));
  }
}

function models(run) {
  const names = run.model_version.split(" ").slice(1, -1).join(" ");  // "label-studio-sam yolov8n+sam_b 1a2b3c4d"
  return names.replace("+", " + ") || `${run.configuration.detector} + ${run.configuration.model}`;
}

const STORED_BEFORE = {embeddings: "embedded before", regions: "indexed before"};  // purposes without predictions

function numbers(run, done) {
  const {counts} = run;
  if (run.state === "undone") return `${count(counts.undone, "prediction")} removed`;
  const parts = [`${done.toLocaleString()} of ${counts.total === null ? "?" : counts.total.toLocaleString()} tasks`];
  if (counts.skipped) parts.push(`${counts.skipped.toLocaleString()} ${STORED_BEFORE[run.configuration.purpose] || "skipped"}`);
  if (counts.empty && !(run.configuration.purpose in STORED_BEFORE)) parts.push(`${counts.empty.toLocaleString()} without objects`);
  const labels = Object.entries(run.labels).map(([label, number]) => `${number.toLocaleString()} ${label || "unlabeled"}`);
  if (counts.objects) parts.push(`${count(counts.objects, "object")} (${labels.slice(0, 6).join(", ")})`);
  if (run.state === "running" && run.rate_per_s) parts.push(`${run.rate_per_s.toFixed(1)} tasks/s`);
  if (run.eta_s !== null) parts.push(`${duration(run.eta_s)} left`);
  return parts.join(" · ");
}

function actionsOf(run) {
  const actions = [];
  if (["queued", "running"].includes(run.state)) actions.push("pause", "cancel");
  if (["paused", "interrupted", "failed", "cancelled"].includes(run.state)) actions.push("resume");
  if (["paused", "interrupted"].includes(run.state)) actions.push("cancel");
  if (run.counts.failed && !ACTIVE.includes(run.state) && run.state !== "undone") actions.push("retry");
  if (run.counts.written && !(run.configuration.purpose in STORED_BEFORE) && !ACTIVE.includes(run.state) && run.state !== "undone") {
    actions.push("review", "evaluate", "undo");
  }
  return actions;
}

const ACTION_TEXTS = {pause: "Pause", cancel: "Cancel", resume: "Resume", retry: "Retry failed tasks", undo: "Undo", review: "Review", evaluate: "Evaluate"};
const ACTION_HINTS = {
  review: "Create a tab in the Data Manager with the riskiest tasks first, and one with a random sample of 5 %",
  evaluate: "Compare the predictions with the annotations that people submitted",
};

function actionButton(run, action) {
  const button = element("button", ACTION_TEXTS[action], {type: "button", "data-action": action});
  if (ACTION_HINTS[action]) button.title = ACTION_HINTS[action];
  button.addEventListener("click", async () => {
    if (action === "undo" && !button.classList.contains("danger")) {  // the second click confirms
      button.classList.add("danger");
      button.textContent = `Remove ${count(run.counts.written, "prediction")} of this run?`;
      setTimeout(() => { button.classList.remove("danger"); button.textContent = ACTION_TEXTS.undo; }, 6000);
      return;
    }
    button.disabled = true;
    try {
      if (action === "review") await review(run, button);
      else if (action === "evaluate") await evaluate(run, button);
      else await request(`api/runs/${run.id}/${action}`, {});
    } catch (error) {
      announce(error.message);
      $(".message", button.closest(".run")).textContent = error.message;
      $(".message", button.closest(".run")).hidden = false;
    }
    button.disabled = false;
    poll();
  });
  return button;
}

async function review(run, button) {
  const {review, url} = await request(`api/runs/${run.id}/review`, {audit: 0.05});
  const words = review.audit_tasks.length ? ` A second tab has a random sample of ${count(review.audit_tasks.length, "task")}.` : "";
  const text = element("span", words);
  showResult(button, element("a", "Review: riskiest first", {href: url, target: "_blank", rel: "noopener"}), text);
  announce("The tab for the review is there.");
}

async function evaluate(run, button) {
  await request(`api/runs/${run.id}/evaluate`, {calibrate: true});
  let state;
  do {
    await new Promise(resolve => setTimeout(resolve, 500));
    state = await request(`api/runs/${run.id}/evaluation`);
    button.textContent = state.total ? `Evaluating ${state.done} of ${state.total}` : "Evaluating…";
  } while (state.is_running);
  button.textContent = ACTION_TEXTS.evaluate;
  if (state.evaluation) showEvaluation(run, button, state);
  else throw new Error(state.error);
  if (state.evaluation.tasks.reviewed) showAdvice();
}

function percent(value) { return value === null ? "–" : `${(100 * value).toFixed(1)} %`; }

function showEvaluation(run, button, state) {
  const {tasks, all} = state.evaluation;
  const words = tasks.reviewed ?
    `${count(tasks.reviewed, "reviewed task")}: ${percent(all.accepted_share.value)} of the regions accepted unchanged, precision ${percent(all.precision.value)}, recall ${percent(all.recall.value)}${all.precision.too_few ? " (too few for certainty)" : ""}. ` :
    "No task of this run has an annotation yet. ";
  const calibration = state.has_calibration ? " Calibration stored." : state.error ? ` No calibration: ${state.error.replace(/^could not fit a calibration: /, "")}.` : "";
  showResult(button, element("span", words), reportLink(run), element("span", calibration));
  announce("The evaluation is ready.");
}

function reportLink(run) {
  const address = `api/runs/${run.id}/report`, token = sessionStorage.getItem(TOKEN_KEY);
  if (!token) return element("a", "Report", {href: address, target: "_blank", rel: "noopener"});
  const link = element("button", "Download the report", {type: "button"});  // a link cannot send the token
  link.addEventListener("click", async () => {
    const response = await fetch(address, {headers: {Authorization: `Bearer ${token}`}});
    const file = URL.createObjectURL(await response.blob());
    const download = element("a", "", {href: file, download: `evaluation-${run.id}.html`});
    download.click();
    setTimeout(() => URL.revokeObjectURL(file), 10000);
  });
  return link;
}

function showResult(button, ...content) {
  const output = $(".result", button.closest(".run"));
  output.replaceChildren(...content);
  output.hidden = false;
}

async function showFailures(item, id) {
  if (!$("details", item).open) return;
  let failures = [];
  try {
    ({failures} = await request(`api/runs/${id}`));
  } catch (error) {
    announce(error.message);
  }
  $("details ul", item).replaceChildren(...failures.map(failure => element("li", `task ${failure.task}: ${failure.error}`)));
}

// The form

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", text, {value})));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}

const MODEL_TEXTS = {classical: "classical, not SAM"};
const DETECTOR_TEXTS = {
  exemplars: "examples: objects like the annotated ones", auto: "the best detector for the words",
  classical: "classical: people and faces", everything: "everything, without classes", boxes: "boxes that are in the tasks",
};

function showClicks() {
  const project = projects.find(project => String(project.id) === $("#new-run").project.value);
  $("#label-words").replaceChildren(...(project?.words ? [element("option", undefined, {value: project.words})] : []));
  $("#project-clicks").textContent = project?.clicks ? `Clicks in this project get: ${project.clicks}.` : "";
}

async function fillForm() {
  const form = $("#new-run");
  const present = name => (status.weights || []).find(file => file.model === name)?.presence !== "missing";
  const order = names => [...names].sort((a, b) => present(b) - present(a));
  const text = (name, texts) => (texts[name] || name) + (present(name) ? "" : " (is downloaded first)");
  options(form.detector, [...order(status.detectors), "auto"].map(name => [name, text(name, DETECTOR_TEXTS)]), "classical");
  options(form.model, [["auto", `same as for clicks (${status.model.name})`], ...status.models.filter(name => name !== "auto").map(name => [name, text(name, MODEL_TEXTS)])], "auto");
  try {
    ({projects} = await request("api/projects"));
    const pairs = projects.map(project => [String(project.id), `${project.title} (${count(project.tasks, "task")})`]);
    options(form.project, pairs.length ? pairs : [["", "no projects yet"]]);
    const connected = projects.find(project => project.has_this_backend);
    if (connected) form.project.value = String(connected.id);
    isFormFilled = true;
    showClicks();
    showAdvice();
    $("#form-error").textContent = "";
    showMapping();
  } catch (error) {
    options(form.project, [["", "could not list the projects"]]);
    $("#form-error").textContent = error.message;
  }
}

// Thresholds that the newest evaluated run of the project advises

let advice = null;

async function showAdvice() {
  const project = Number($("#new-run").project.value);
  $("#advice").hidden = true;
  if (!project) return;
  try {
    advice = await request(`api/projects/${project}/advice`);
  } catch {
    return;  // no advice
  }
  const pairs = Object.entries(advice.label_thresholds);
  if (!pairs.length && !advice.calibration) return;
  const parts = pairs.map(([label, threshold]) => `${label} ${threshold}`);
  $("#advice span").textContent = (parts.length ?
    `Run ${advice.run} advises minimum scores for a precision of ${percent(advice.precision)}: ${parts.slice(0, 8).join(", ")}. ` : "") +
    (advice.calibration ? `It has a calibration of the scores. ` : "");
  $("#advice").hidden = false;
  $("#advice button").hidden = !pairs.length;
  $("#calibration-choice").hidden = !advice.calibration;
}

function useAdvice() {
  const pairs = Object.entries(advice.label_thresholds).map(([label, threshold]) => `${label}=${threshold}`);
  $("#new-run").label_thresholds.value = pairs.join(", ");
  $("#new-run").label_thresholds.focus();
}

function pairsIn(field, name) {
  const pairs = field.value.split(",").map(pair => pair.split("=").map(part => part.trim())).filter(pair => pair[0]);
  const wrong = pairs.find(pair => pair.length !== 2 || !pair[1]);
  if (wrong) throw new Error(`${name}: "${wrong.join("=")}" is not ${field.name === "label_map" ? "class=Label" : "Label=score"}.`);
  return pairs;
}

function configuration() {
  const form = $("#new-run");
  const result = {
    project: Number(form.project.value), detector: form.detector.value, model: form.model.value,
    shape: form.shape.value, policy: form.policy.value, show: form.show.checked, filter: {},
  };
  if (form.score_threshold.value) result.score_threshold = Number(form.score_threshold.value);
  if (form.points_per_side.value && form.detector.value === "everything") {
    result.points_per_side = Number(form.points_per_side.value);
  }
  const words = form.text.value.trim();
  if (words && !["everything", "boxes", "exemplars"].includes(form.detector.value)) result.text = words;
  else if (form.detector.value === "auto") throw new Error("Words: write what to look for, such as cat, red car=Vehicle.");
  if (form.sample.value) result.filter.sample = Number(form.sample.value);
  if (form.tasks.value === "unlabeled") result.filter.state = "unlabeled";
  else if (form.tasks.value !== "all") result.filter[form.tasks.value] = true;
  const pairs = pairsIn(form.label_map, "Label map");
  if (pairs.length) result.label_map = Object.fromEntries(pairs);
  const thresholds = pairsIn(form.label_thresholds, "Minimum scores");
  if (thresholds.length) result.label_thresholds = Object.fromEntries(thresholds.map(([label, score]) => [label, Number(score)]));
  if (form.calibration.checked && advice?.calibration && !$("#calibration-choice").hidden) result.calibration = advice.calibration;
  return result;
}

async function submitForm(action) {
  $("#form-error").textContent = "";
  const buttons = document.querySelectorAll("#new-run button");
  buttons.forEach(button => { button.disabled = true; });
  try {
    if (!$("#new-run").reportValidity()) return;
    await action(configuration());
  } catch (error) {
    $("#form-error").textContent = error.message;
  } finally {
    buttons.forEach(button => { button.disabled = false; });
  }
}

async function showMapping() {
  const output = $("#mapping");
  output.textContent = "";
  try {
    const sent = configuration();
    if (!sent.project) return;
    const {mapping} = await request("api/runs/mapping", sent);
    if (JSON.stringify(sent) !== JSON.stringify(configuration())) return;  // the form has changed meanwhile
    const mapped = Object.entries(mapping.mapped).map(([name, label]) => name === label ? name : `${name} → ${label || "no label"}`);
    const parts = [mapped.length ? `Labels: ${mapped.slice(0, 12).join(", ")}.` : ""];
    if (mapping.labels_without_class.length && !WITHOUT_CLASSES.includes(sent.detector)) parts.push(`No class for ${mapping.labels_without_class.slice(0, 12).join(", ")}.`);
    if (mapping.dropped_classes.length) parts.push(`${count(mapping.dropped_classes.length, "class").replace("classs", "classes")} dropped.`);
    output.textContent = parts.filter(Boolean).join(" ");
    $("#form-error").textContent = "";
  } catch (error) {
    $("#form-error").textContent = error.message;
  }
}

async function preview(configuration) {
  const output = $("#preview");
  output.replaceChildren(element("p", "Computing the preview…", {class: "quiet"}));
  announce("Computing the preview…");
  try {
    const hasExamples = configuration.detector === "exemplars";
    const sent = {...configuration, tasks: hasExamples ? 8 : 6};
    if (hasExamples) sent.score_threshold = LOWEST_SCORE;  // the slider shows what remains of these
    const answer = await request("api/runs/preview", sent);
    const {tasks, seconds, bytes} = answer.estimate;
    const estimate = `${count(tasks, "task")}: about ${duration(seconds)} and ${size(bytes)} of predictions`;
    const figures = answer.images.map(figure);
    const images = element("div", undefined, {class: "images"});
    images.append(...figures.map(one => one.figure));
    output.replaceChildren(element("p", estimate, {class: "estimate"}));
    announce(`Preview of ${count(answer.images.length, "task")}. ${estimate}.`);
    if (hasExamples) {
      const examples = element("div", undefined, {class: "examples"});
      examples.append(...answer.examples.map(one => element("img", undefined,
        {src: one.image, alt: `Example of ${one.label || "an object without label"} in task ${one.task}`, title: one.label})));
      output.append(element("p", `Examples: ${count(answer.examples.length, "region")}`), examples);
      output.append(showScores(answer.images, figures, answer.indexed_scores, configuration.score_threshold ?? DEFAULT_SCORES.exemplars));
    }
    output.append(images);
  } catch (error) {
    output.replaceChildren(element("p", "No preview.", {class: "quiet"}));
    throw error;
  }
}

const LOWEST_SCORE = 0.1;
const DEFAULT_SCORES = {exemplars: 0.5};  // 0.25 with others
const WITHOUT_CLASSES = ["boxes", "exemplars"];
const WITHOUT_WORDS = ["classical", "everything", "boxes", "exemplars"];

// Return a slider for the minimum score, with the number of objects that remain. The figures show these only.
function showScores(images, figures, indexed, chosen) {
  const scores = images.flatMap(one => one.objects.map(each => each.score));
  const slider = element("input", undefined, {type: "range", min: 0, max: 1, step: 0.01});
  const label = element("label", "Minimum score "), shown = element("output"), remaining = element("p", "", {class: "quiet"});
  slider.value = chosen;
  slider.addEventListener("input", () => {
    const minimum = Number(slider.value);
    figures.forEach(one => one.show(minimum));
    shown.textContent = minimum.toFixed(2);
    const kept = scores.filter(score => score >= minimum).length;
    remaining.textContent = `${kept} of ${count(scores.length, "object")} remain in these ${count(images.length, "task")}`;
    if (indexed.length) {
      const found = indexed.filter(score => score >= minimum).length;
      remaining.textContent += `; ${found.toLocaleString()} of ${count(indexed.length, "indexed image")} have an object`;
    }
  });
  slider.addEventListener("change", () => { $("#new-run").score_threshold.value = slider.value; });
  slider.dispatchEvent(new Event("input"));
  label.append(shown, slider);
  const created = element("div", undefined, {class: "scores"});
  created.append(label, remaining);
  return created;
}

const SVG = "http://www.w3.org/2000/svg";

// Return the figure of a task, and a function that shows the objects with a minimum score.
function figure(preview) {
  const created = element("figure"), caption = element("figcaption"), image = element("img");
  const paths = preview.objects.map(outline);
  if (preview.objects.length) created.title = `Scores: ${preview.objects.map(one => one.score.toFixed(2)).join(", ")}`;
  if (preview.image) {
    const drawn = element("div", undefined, {class: "drawn"}), overlay = document.createElementNS(SVG, "svg");
    image.src = preview.image;
    overlay.setAttribute("viewBox", `0 0 ${preview.size.join(" ")}`);
    overlay.setAttribute("aria-hidden", "true");
    overlay.append(...paths);
    drawn.append(image, overlay);
    created.append(drawn);
  }
  created.append(caption);
  const show = minimum => {
    const labels = {};
    preview.objects.forEach((one, index) => {
      const isShown = one.score >= minimum;
      paths[index].toggleAttribute("hidden", !isShown);
      if (isShown) labels[one.label] = (labels[one.label] || 0) + 1;
    });
    const counts = Object.entries(labels).map(([label, number]) => `${number} ${label || "unlabeled"}`).join(", ");
    caption.textContent = image.alt = `Task ${preview.task}: ${preview.error || counts || "no objects"}`;
  };
  show(0);
  return {figure: created, show};
}

function outline(one, index) {
  const path = document.createElementNS(SVG, "path"), title = document.createElementNS(SVG, "title");
  const colour = `hsl(${(209 + 137.5 * index) % 360} 90% 55%)`;  // consecutive hues differ strongly
  title.textContent = `${one.label || "unlabeled"} ${one.score.toFixed(2)}`;
  for (const [name, value] of Object.entries({d: one.outline, fill: colour, stroke: colour})) path.setAttribute(name, value);
  path.append(title);
  return path;
}

async function startRun(configuration) {
  const {run} = await request("api/runs", configuration);
  announce(`Run ${run.id} started.`);
  await poll();
  $(`[data-run="${run.id}"]`)?.scrollIntoView({block: "nearest"});
}

// Polling

let timer = null;

let polls = 0;
let isFormFilled = false;

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  const number = polls += 1;
  try {
    await showRuns();
    await showLastClicks();
    await showModels();
    if (!status || status.model.state === "loading" || status.model.name !== modelList.default.name || !runs.some(run => ACTIVE.includes(run.state))) await showStatus();
    if (!isFormFilled && status) await fillForm();
  } catch (error) {
    $("#problems").hidden = false;
    $("#problems ul").replaceChildren(element("li", error.message));
  }
  const isBusy = runs.some(run => ACTIVE.includes(run.state)) || status?.model.state === "loading" || isModelListChanging;
  if (number !== polls) return;  // a later call sets the timer
  timer = setTimeout(poll, isBusy ? FAST_MS : SLOW_MS);
}

document.addEventListener("visibilitychange", poll);
document.addEventListener("DOMContentLoaded", async () => {
  const form = $("#new-run");
  for (const name of ["project", "detector", "text", "shape", "label_map"]) form[name].addEventListener("change", showMapping);
  const showDefaultScore = () => { form.score_threshold.placeholder = DEFAULT_SCORES[form.detector.value] ?? 0.25; };
  form.detector.addEventListener("change", showDefaultScore);
  form.project.addEventListener("change", showClicks);
  form.project.addEventListener("change", showAdvice);
  $("#advice button").addEventListener("click", useAdvice);
  form.text.addEventListener("input", () => {  // these find no words, or few
    if (form.text.value && WITHOUT_WORDS.includes(form.detector.value)) form.detector.value = "auto";
    if (!form.text.value && form.detector.value === "auto") form.detector.value = "classical";
    showDefaultScore();
  });
  $("#preview-button").addEventListener("click", () => submitForm(preview));
  form.addEventListener("submit", event => {
    event.preventDefault();
    submitForm(startRun);
  });
  $("#embed-button").addEventListener("click", () => submitForm(
    ({project, model, filter}) => startRun({project, model, filter, purpose: "embeddings"})));
  $("#token-form").addEventListener("submit", event => {
    event.preventDefault();
    const {token} = event.target;
    if (!/^[\x21-\x7e]+$/.test(token.value.trim())) {
      $("#token-error").textContent = "This is not a token: a token has letters, digits and signs, no spaces.";
      return;
    }
    sessionStorage.setItem(TOKEN_KEY, token.value.trim());
    token.value = "";
    event.target.hidden = true;
    $("#problems").hidden = true;
    poll();
  });
  await poll();
});
