// The page's life: it asks the backend's JSON interface and shows what that says. Nothing from outside becomes markup:
// texts are set as textContent.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const AT_WORK = ["queued", "running", "undoing"];
const FAST_MS = 1000, SLOW_MS = 10000;
const TOKEN = "label-studio-sam token";  // its key in sessionStorage: gone with the tab

async function ask(path, body) {
  const options = body === undefined ? {} :
    {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const token = sessionStorage.getItem(TOKEN);
  const authorization = token ? {Authorization: `Bearer ${token}`} : {};
  let response, answer;
  try {
    response = await fetch(path, {...options, headers: {Accept: "application/json", ...authorization, ...options.headers}});
    answer = await response.json();
  } catch {
    throw new Error("the backend does not answer");
  }
  if (response.status === 401 && (response.headers.get("WWW-Authenticate") || "").startsWith("Bearer")) {
    askForToken(Boolean(token));
    throw new Error(token ? "The backend refused the API token." : "The backend asks for its API token.");
  }
  if (!response.ok) throw new Error(answer.error || `the backend answered ${response.status}`);
  return answer;
}

function askForToken(isWrong) {
  const form = $("#token-form");
  $("#token-error").textContent = isWrong ? "The backend refused this token." : "";
  if (!form.hidden) return;
  form.hidden = false;
  form.token.focus();
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const announce = words => { $("#announcements").textContent = words; };
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

// What the backend is and lacks

let status = null;

async function showStatus() {
  status = await ask("api/status");
  const {model, cache, label_studio: labelStudio} = status;
  const dot = element("span", undefined, {class: "dot", "data-state": model.state});
  const words = model.state === "ready" ? model.name : `${model.name}, ${model.progress || model.state}`;
  $("#model").replaceChildren(dot, words);
  $("#model").title = model.version;
  $("#cache").textContent = cacheWords(cache);
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

function cacheWords(cache) {
  const asked = (cache.hits || 0) + (cache.misses || 0);
  const images = count(cache.images ?? cache.entries ?? 0, "image");
  return asked ? `${images}, ${Math.round(100 * cache.hits / asked)} % hits` : images;
}

// Runs

let runs = [];

async function showRuns() {
  const before = new Map(runs.map(run => [run.id, run.state]));
  const answer = await ask("api/runs");
  runs = answer.runs;
  const lost = (answer.unreadable || []).map(run => `Run ${run.id} cannot be read: ${run.cause}`);
  $("#runs-problem").textContent = [answer.problem, ...lost].filter(Boolean).join(". ");
  $("#runs-problem").hidden = !$("#runs-problem").textContent;
  $("#no-runs").hidden = runs.length > 0;
  const list = $("#runs");
  const items = runs.map(run => {
    const item = $(`[data-run="${run.id}"]`, list) || newItem(run.id);
    fillItem(item, run);
    return item;
  });
  if (items.some((item, place) => list.children[place] !== item) || list.children.length !== items.length) {
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
  const part = run.state === "undoing" ? counts.undone / Math.max(1, counts.written) : done / Math.max(1, counts.total || 0);
  bar.hidden = !["running", "paused", "interrupted", "undoing"].includes(run.state);
  bar.value = Math.min(1, part);
  bar.setAttribute("aria-label", `${Math.round(100 * part)} percent done`);
  $(".numbers", item).textContent = numbers(run, done);
  $(".message", item).textContent = run.message;
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
  const named = run.model_version.split(" ").slice(1, -1).join(" ");  // "label-studio-sam yolov8n+sam_b 1a2b3c4d"
  return named.replace("+", " + ") || `${run.configuration.detector} + ${run.configuration.model}`;
}

function numbers(run, done) {
  const {counts} = run;
  if (run.state === "undone") return `${count(counts.undone, "prediction")} removed`;
  const parts = [`${done.toLocaleString()} of ${counts.total === null ? "?" : counts.total.toLocaleString()} tasks`];
  if (counts.skipped) parts.push(`${counts.skipped.toLocaleString()} passed over`);
  if (counts.empty) parts.push(`${counts.empty.toLocaleString()} without objects`);
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
  if (run.counts.failed && !AT_WORK.includes(run.state) && run.state !== "undone") actions.push("retry");
  if (run.counts.written && !AT_WORK.includes(run.state) && run.state !== "undone") actions.push("undo");
  return actions;
}

const ACTION_WORDS = {pause: "Pause", cancel: "Cancel", resume: "Resume", retry: "Retry failed tasks", undo: "Undo"};

function actionButton(run, action) {
  const button = element("button", ACTION_WORDS[action], {type: "button", "data-action": action});
  button.addEventListener("click", async () => {
    if (action === "undo" && !button.classList.contains("danger")) {  // asked once more, where the eyes are
      button.classList.add("danger");
      button.textContent = `Remove ${count(run.counts.written, "prediction")} of this run?`;
      setTimeout(() => { button.classList.remove("danger"); button.textContent = ACTION_WORDS.undo; }, 6000);
      return;
    }
    button.disabled = true;
    try {
      await ask(`api/runs/${run.id}/${action}`, {});
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

async function showFailures(item, id) {
  if (!$("details", item).open) return;
  let failed = [];
  try {
    ({failures: failed} = await ask(`api/runs/${id}`));
  } catch (error) {
    announce(error.message);
  }
  $("details ul", item).replaceChildren(...failed.map(one => element("li", `task ${one.task}: ${one.error}`)));
}

// The form

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, words]) => element("option", words, {value})));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}

const DETECTOR_WORDS = {
  classical: "classical: people and faces", everything: "everything, without classes", boxes: "boxes already in the tasks",
};

async function fillForm() {
  const form = $("#new-run");
  const present = name => (status.weights || []).find(one => one.model === name)?.presence !== "missing";
  const order = names => [...names].sort((a, b) => present(b) - present(a));
  const words = name => (DETECTOR_WORDS[name] || name) + (present(name) ? "" : " (to be downloaded)");
  options(form.detector, order(status.detectors).map(name => [name, words(name)]), "classical");
  options(form.model, [["auto", `as for clicks (${status.model.name})`], ...status.models.filter(name => name !== "auto").map(name => [name, words(name)])], "auto");
  try {
    const {projects} = await ask("api/projects");
    const pairs = projects.map(one => [String(one.id), `${one.title} (${count(one.tasks, "task")})`]);
    options(form.project, pairs.length ? pairs : [["", "no projects yet"]]);
    const own = projects.find(one => one.has_this_backend);
    if (own) form.project.value = String(own.id);
    isFormFilled = true;
    $("#form-error").textContent = "";
    showMapping();
  } catch (error) {
    options(form.project, [["", "Label Studio is not reachable"]]);
    $("#form-error").textContent = error.message;
  }
}

function configuration() {
  const form = $("#new-run");
  const asked = {
    project: Number(form.project.value), detector: form.detector.value, model: form.model.value,
    shape: form.shape.value, policy: form.policy.value, show: form.show.checked, filter: {},
  };
  if (form.score_threshold.value) asked.score_threshold = Number(form.score_threshold.value);
  if (form.sample.value) asked.filter.sample = Number(form.sample.value);
  if (form.tasks.value === "unlabeled") asked.filter.state = "unlabeled";
  else if (form.tasks.value !== "all") asked.filter[form.tasks.value] = true;
  const pairs = form.label_map.value.split(",").map(pair => pair.split("=").map(part => part.trim())).filter(pair => pair[0]);
  const odd = pairs.find(pair => pair.length !== 2 || !pair[1]);
  if (odd) throw new Error(`"${odd.join("=")}" in Classes as labels: needed: class=Label`);
  if (pairs.length) asked.label_map = Object.fromEntries(pairs);
  return asked;
}

async function withForm(work) {
  $("#form-error").textContent = "";
  const buttons = document.querySelectorAll("#new-run button");
  buttons.forEach(button => { button.disabled = true; });
  try {
    if (!$("#new-run").reportValidity()) return;
    await work(configuration());
  } catch (error) {
    $("#form-error").textContent = error.message;
  } finally {
    buttons.forEach(button => { button.disabled = false; });
  }
}

async function showMapping() {
  const words = $("#mapping");
  words.textContent = "";
  try {
    const asked = configuration();
    if (!asked.project) return;
    const {mapping} = await ask("api/runs/mapping", asked);
    if (JSON.stringify(asked) !== JSON.stringify(configuration())) return;  // changed meanwhile
    const mapped = Object.entries(mapping.mapped).map(([name, label]) => name === label ? name : `${name} → ${label || "no label"}`);
    const parts = [mapped.length ? `Labels: ${mapped.slice(0, 12).join(", ")}.` : ""];
    if (mapping.labels_without_class.length) parts.push(`Nothing for ${mapping.labels_without_class.slice(0, 12).join(", ")}.`);
    if (mapping.dropped_classes.length) parts.push(`${count(mapping.dropped_classes.length, "class").replace("classs", "classes")} dropped.`);
    words.textContent = parts.filter(Boolean).join(" ");
    $("#form-error").textContent = "";
  } catch (error) {
    $("#form-error").textContent = error.message;
  }
}

async function preview(asked) {
  const place = $("#preview");
  place.replaceChildren(element("p", "Drawing…", {class: "quiet"}));
  try {
    const answer = await ask("api/runs/preview", {...asked, tasks: 6});
    const {tasks, seconds, bytes} = answer.estimate;
    const words = `${count(tasks, "task")}: about ${duration(seconds)} and ${size(bytes)} of predictions`;
    const pictures = element("div", undefined, {class: "pictures"});
    pictures.append(...answer.pictures.map(figure));
    place.replaceChildren(element("p", words, {class: "estimate"}), pictures);
  } catch (error) {
    place.replaceChildren(element("p", "No preview.", {class: "quiet"}));
    throw error;
  }
}

function figure(one) {
  const made = element("figure");
  const labels = Object.entries(one.labels).map(([label, number]) => `${number} ${label || "unlabeled"}`).join(", ");
  const words = `Task ${one.task}: ${one.error || labels || "nothing found"}`;
  if (one.picture) made.append(element("img", undefined, {src: one.picture, alt: words}));
  made.append(element("figcaption", words));
  return made;
}

// The rhythm

let timer = null;

let polls = 0;
let isFormFilled = false;

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  const number = polls += 1;
  try {
    await showRuns();
    if (!status || status.model.state === "loading" || !runs.some(run => AT_WORK.includes(run.state))) await showStatus();
    if (!isFormFilled && status) await fillForm();
  } catch (error) {
    $("#problems").hidden = false;
    $("#problems ul").replaceChildren(element("li", error.message));
  }
  const isBusy = runs.some(run => AT_WORK.includes(run.state)) || status?.model.state === "loading";
  if (number !== polls) return;  // a younger one keeps the rhythm
  timer = setTimeout(poll, isBusy ? FAST_MS : SLOW_MS);
}

document.addEventListener("visibilitychange", poll);
document.addEventListener("DOMContentLoaded", async () => {
  const form = $("#new-run");
  for (const name of ["project", "detector", "shape", "label_map"]) form[name].addEventListener("change", showMapping);
  $("#preview-button").addEventListener("click", () => withForm(preview));
  form.addEventListener("submit", event => {
    event.preventDefault();
    withForm(async asked => {
      const {run} = await ask("api/runs", asked);
      announce(`Run ${run.id} started.`);
      await poll();
      $(`[data-run="${run.id}"]`)?.scrollIntoView({block: "nearest"});
    });
  });
  $("#token-form").addEventListener("submit", event => {
    event.preventDefault();
    const {token} = event.target;
    if (!/^[\x21-\x7e]+$/.test(token.value.trim())) {
      $("#token-error").textContent = "A token has letters, digits and signs, without spaces.";
      return;
    }
    sessionStorage.setItem(TOKEN, token.value.trim());
    token.value = "";
    event.target.hidden = true;
    $("#problems").hidden = true;
    poll();
  });
  await poll();
});
