// The calls of the public front end (rest-api.md 23): anonymous info, refresh, lists, polling, download, logout.

const API = "__API_URL__";
const POLL_MS = 500;
const show = (id, text) => { document.getElementById(id).textContent = text; };
const calls = [];
let polling;

function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(name + "="));
  return found && found.slice(name.length + 1);
}

async function send(method, path, body) {
  const headers = {};
  const headerPayload = cookie("header.payload");
  if (headerPayload) headers.Authorization = `JWT ${headerPayload}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = path.startsWith("http") ? path : API + path;
  const answer = await fetch(url, {
    method, headers, credentials: "include", body: body === undefined ? undefined : JSON.stringify(body),
  });
  calls.push(`${method} ${new URL(url).pathname} ${answer.status}`);
  show("calls", calls.join("\n"));
  return answer;
}

// A GET that is answered 401 is repeated once, after a refresh.
async function get(path) {
  const answer = await send("GET", path);
  if (answer.status !== 401) return answer;
  const refreshed = await send("POST", "/me/refresh/");
  if (!refreshed.ok) { leave(); return answer; }
  return send("GET", path);
}

const json = async (path) => (await get(path)).json();

function leave() {
  clearInterval(polling);
  document.getElementById("home").hidden = true;
  document.getElementById("login").hidden = false;
}

async function download(address) {
  const answer = await get(address);
  show("description", await answer.text());
  show("file", answer.headers.get("Content-Disposition"));
}

async function news() {
  const page = await json("/news_feed/?page=1&page_size=10");
  const rows = page.results.map((item) => `<li>${item.asset_kind} ${item.name} ${item.status}</li>`);
  document.getElementById("news").innerHTML = rows.join("");
}

async function enter() {
  const [organizations, info, metadata] = await Promise.all([
    json("/organization/"), json("/info/"), json("/compute_plan_metadata/"),
  ]);
  if (!Array.isArray(metadata)) throw new Error("no metadata");
  show("user", info.user);
  show("organization", organizations.find((one) => one.is_current).id);
  const datasets = document.getElementById("datasets");
  datasets.replaceChildren();
  const page = await json("/data_manager/?page_size=30&page=1&ordering=-creation_date");
  for (const dataset of page.results) {
    const button = document.createElement("button");
    button.textContent = dataset.name;
    button.onclick = () => download(dataset.description.storage_address);
    datasets.append(button);
  }
  document.getElementById("login").hidden = true;
  document.getElementById("home").hidden = false;
  await news();
  polling = setInterval(news, POLL_MS);
}

document.getElementById("login").onsubmit = async (event) => {
  event.preventDefault();
  const [username, password] = ["username", "password"].map((id) => document.getElementById(id).value);
  const answer = await send("POST", "/me/login/?format=json", { username, password });
  const body = await answer.json();
  show("refused", answer.ok ? "" : body.detail);
  if (answer.ok) await enter();
};

document.getElementById("logout").onclick = async () => {
  clearInterval(polling);
  await send("GET", "/me/logout/");
  leave();
};

const anonymous = await (await fetch(`${API}/info/`, { headers: { Accept: "application/json;version=0.0" } })).json();
document.title = anonymous.organization_id;
if ((await send("POST", "/me/refresh/")).ok) await enter();
else leave();
