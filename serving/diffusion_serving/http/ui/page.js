// The page of /ui: sends the form to /predict, shows each step, then the pictures.
// The page stores nothing elsewhere and calls no other server.

const MAX_SEED = 2 ** 32 - 1;
const NUMBERS = ["steps", "guidance_scale", "width", "height", "seed", "images"];

const find = (selector, within = document) => within.querySelector(selector);
const form = find("#form");
const fields = form.elements;

let running = null;

/** The headers of a request, with the key if there is one. */
function headers(more = {}) {
  const key = fields.key.value.trim();
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

/** Returns the body for /predict: the fields that are filled in. */
function requestBody() {
  const body = { prompt: fields.prompt.value };
  const negative = fields.negative_prompt.value.trim();
  if (negative) body.negative_prompt = negative;
  for (const name of NUMBERS) {
    if (fields[name].value !== "") body[name] = Number(fields[name].value);
  }
  if (fields.lora.value) body.lora = { name: fields.lora.value };
  return body;
}

/** Yields the server-sent events of a response's body. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split("\n");
      const field = (name) =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      if (field("event")) yield { name: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

function showProblem(problem) {
  find("#problem").hidden = !problem;
  find("#problem").textContent = problem || "";
}

/** Returns a sentence for a problem document, or for another server's refusal. */
async function problemOf(response) {
  if (response.status === 401) {
    find("#key-field").hidden = false;
    fields.key.focus();
    return fields.key.value.trim()
      ? "This key is not one of this service's keys: correct it and try again."
      : "This service needs an API key: fill it in and try again.";
  }
  const text = await response.text();
  try {
    return JSON.parse(text).detail || text;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

function show(phase, step, steps) {
  find("#phase").textContent = phase;
  const bar = find("#bar");
  if (steps) {
    bar.max = steps;
    bar.value = step;
  } else {
    bar.removeAttribute("value");
  }
}

async function generate() {
  const body = requestBody();
  running = new AbortController();
  showProblem("");
  find("button[type=submit]").disabled = true;
  find("#stop").hidden = false;
  find("#working").hidden = false;
  show("Waiting for the device…");
  try {
    const response = await fetch("predict", {
      method: "POST",
      headers: headers({ "Content-Type": "application/json", Accept: "text/event-stream" }),
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!response.ok) return showProblem(await problemOf(response));
    for await (const { name, data } of events(response)) {
      if (name === "step") show(`Step ${data.step} of ${data.steps}`, data.step, data.steps);
      if (name === "problem") showProblem(data.detail);
      if (name === "images") pictures(body, data);
    }
  } catch (error) {
    showProblem(error.name === "AbortError" ? "Stopped." : `The server can't be reached: ${error.message}`);
  } finally {
    running = null;
    find("button[type=submit]").disabled = false;
    find("#stop").hidden = true;
    find("#working").hidden = true;
  }
}

/** Returns a picture's file, without a request for it. */
function blob(base64, format) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: `image/${format}` });
}

function pictures(body, answer) {
  const figures = answer.images.map((image, i) => picture(body, answer, image, i));
  find("#pictures").prepend(...figures);
}

function picture(body, answer, image, i) {
  const seed = (answer.seed + i) % (MAX_SEED + 1);
  const one = { ...body, seed, width: answer.width, height: answer.height, steps: answer.steps };
  delete one.images;
  const figure = find("#picture").content.cloneNode(true).firstElementChild;
  const link = URL.createObjectURL(blob(image, answer.format));
  const img = find("img", figure);
  img.src = link;
  img.alt = body.prompt;
  img.width = answer.width;
  img.height = answer.height;
  find(".prompt", figure).textContent = body.prompt;
  find(".facts", figure).textContent = facts(answer, seed);
  const download = find(".download", figure);
  download.href = link;
  download.download = `${seed}.${answer.format}`;
  find(".again", figure).onclick = () => again(one);
  find(".curl", figure).onclick = (event) => copy(event.target, curl(one));
  return figure;
}

function facts(answer, seed) {
  const times = Object.entries(answer.timings_ms).map(([stage, ms]) => `${stage.replace("_", " ")} ${Math.round(ms)} ms`);
  return `Seed ${seed}, ${answer.width}×${answer.height}, ${answer.steps} steps. ${times.join(", ")}.`;
}

/** Fills the form with a picture's request, and generates the picture again. */
function again(body) {
  for (const name of ["prompt", "negative_prompt", ...NUMBERS]) fields[name].value = body[name] ?? "";
  fields.images.value = 1;
  fields.lora.value = body.lora?.name ?? "";
  form.requestSubmit();
}

/** Returns the request as a shell command. Its user fills in the key. */
function curl(body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = fields.key.value ? ` -H "Authorization: Bearer $API_KEY"` : "";
  const url = new URL("predict", document.baseURI).href;
  return `curl ${quoted(url)} -H 'Content-Type: application/json' -H 'Accept: image/png'${key} -d ${quoted(JSON.stringify(body))} -o ${body.seed}.png`;
}

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Pages from plain HTTP may not write to the clipboard: show the text to be copied by hand.
    window.prompt("Copy this:", text);
  }
  setTimeout(() => { button.textContent = label; }, 2000);
}

/** Shows the server's defaults and limits in the form. */
function applyDefaults(about) {
  const { generation, limits } = about;
  find("#about").textContent =
    `${about.service || about.source}, ${about.backend}, ${about.device_name || about.device || "still loading"}, ${about.dtype || ""}`;
  for (const name of ["steps", "guidance_scale", "width", "height"]) {
    fields[name].placeholder = generation[name] ?? "";
  }
  fields.steps.max = limits.max_steps;
  fields.images.max = limits.max_images_per_request;
  find("#lora-field").hidden = about.loras.length === 0;
  fields.lora.replaceChildren(new Option("none", ""), ...about.loras.map(({ name }) => new Option(name, name)));
}

async function begin() {
  try {
    const response = await fetch("about", { headers: headers() });
    if (!response.ok) return showProblem(await problemOf(response));
    applyDefaults(await response.json());
  } catch (error) {
    showProblem(`The server can't be reached: ${error.message}`);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) generate();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
fields.key.addEventListener("change", begin);
find("#stop").addEventListener("click", () => running?.abort());
begin();
