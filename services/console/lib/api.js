// The public API: every call of the console goes through here. Addresses are relative, so that a prefix may stand in front.

import { key, wantKey } from "./session.js";

/** An error as the gateway words it (RFC 9457), or the lack of an answer: then `status` is 0. */
export class Problem extends Error {
  constructor(status, { code = "unreachable", title = "", detail = "", field = null, trace_id: traceId = null } = {}, retryAfter = null) {
    super(detail || title || `the gateway answered ${status}`);
    Object.assign(this, { name: "Problem", status, code, field, traceId, retryAfter });
  }
}

/** Send a request; resolves to the Response of a success, throws Problem, or AbortError when `signal` says so. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  for (;;) {
    const used = key();
    const response = await answer(path, { method, signal, body, headers: { ...authorization(used), ...headers } });
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (!(await mayTryAgain(problem, used))) throw problem;
  }
}

/** Resolve to whether there is another key than the refused one; another call may have brought it in the meantime. */
async function mayTryAgain(problem, used) {
  return problem.status === 401 && (key() !== used || wantKey(problem));
}

async function answer(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The gateway cannot be reached. Is it running, and is the network up?" });
  }
}

export function authorization(value = key()) {
  return value === null ? {} : { Authorization: `Bearer ${value}` };
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const found = await response.json().catch(() => ({}));
  return new Problem(response.status, { trace_id: response.headers.get("X-Trace-Id"), ...found }, retryAfter);
}

/** Return a path with the parameters that have a value. */
export function withQuery(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export async function get(path, parameters, options) {
  return (await request(withQuery(path, parameters), options)).json();
}

export async function post(path, body, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  return (await request(path, { ...options, method: "POST", headers, body: JSON.stringify(body) })).json();
}

export async function remove(path, options) {
  return (await request(path, { ...options, method: "DELETE" })).json();
}

/** Upload a form and tell of its progress from 0 to 1, which fetch cannot; throws Problem. */
export async function upload(path, form, { onprogress = () => {}, signal, headers = {} } = {}) {
  for (;;) {
    const used = key();
    const sent = await sendForm(path, form, onprogress, signal, { ...authorization(used), ...headers });
    if (sent.status >= 200 && sent.status < 300) return sent.body;
    const problem = new Problem(sent.status, sent.status ? sent.body : { detail: "The connection to the gateway broke." }, sent.retryAfter);
    if (!(await mayTryAgain(problem, used))) throw problem;
  }
}

function sendForm(path, form, onprogress, signal, headers) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", path);
    call.responseType = "json";
    for (const [name, value] of Object.entries(headers)) call.setRequestHeader(name, value);
    call.upload.addEventListener("progress", (event) => event.lengthComputable && onprogress(event.loaded / event.total));
    call.addEventListener("loadend", () => {
      resolve({ status: call.status, body: call.response ?? {}, retryAfter: Number(call.getResponseHeader("Retry-After")) || null });
    });
    call.addEventListener("abort", () => reject(new DOMException("the upload was stopped", "AbortError")));
    signal?.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}
