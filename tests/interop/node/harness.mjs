// What every Node driver needs: options, scenarios with deadlines, the
// muxloop under test and the table of servers. It knows nothing of MCP.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const argv = process.argv.slice(2);

export const direct = argv.includes('--direct');
/**
 * How clients reach muxloop: by its shim (`stdio`), or over its HTTP front (`http`, `sse`, `ws`); all servers at once
 * also on the socket of `muxloop serve` (`socket`), or on the standard input and output of one for each client (`serve`).
 */
export const over = argv.find((arg) => arg.startsWith('--over='))?.slice('--over='.length) ?? 'stdio';
const hasFront = ['http', 'sse', 'ws'].includes(over);
/** The client's transport for that. */
export const transportOf = hasFront ? over : 'stdio';
const only = argv.find((arg) => arg.startsWith('--only='))?.slice('--only='.length);
/** Every wait ends after this many milliseconds. */
export const deadlineMs = Number(process.env.INTEROP_DEADLINE_MS ?? 20_000);
const scenarioMs = 3 * deadlineMs;
/** After so many failed scenarios a driver stops: the cause is one and waiting for each deadline is long. */
const GIVE_UP = 12;

export const tmp = realpathSync(mkdtempSync(join(tmpdir(), 'muxi-')));
mkdirSync(join(tmp, 'files'));
writeFileSync(join(tmp, 'files', 'hello.txt'), 'hello from a file\n');

const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run this through tools/interop.sh`);
  return value;
};
const places = {
  node: process.execPath,
  muxloop: required('MUXLOOP_BIN'),
  prefix: required('INTEROP_NODE_PREFIX'),
  modules: join(required('INTEROP_NODE_PREFIX'), 'node_modules'),
  programs: dirname(here),
  python1: required('INTEROP_PYTHON1'),
  python2: required('INTEROP_PYTHON2'),
  tmp,
};
const fill = (value) => value.replace(/\{(\w+)\}/g, (all, name) => places[name] ?? all);

/** The servers of `servers.json` with their places filled in, by name. */
export const servers = Object.fromEntries(
  Object.entries(JSON.parse(readFileSync(join(dirname(here), 'servers.json'), 'utf8'))).map(([name, entry]) => [name, {
    cmd: fill(entry.cmd),
    args: (entry.args ?? []).map(fill),
    cwd: entry.cwd && fill(entry.cwd),
    env: Object.fromEntries(Object.entries(entry.env ?? {}).map(([key, value]) => [key, fill(value)])),
    mux: entry.mux ?? {},
  }]),
);

export const socketOf = (name, dir = tmp) => join(dir, `${name}.sock`);
const configOf = (dir) => join(dir, 'mux.toml');
const logOf = (dir) => join(dir, 'muxloop.log');
/** Instead of a server's name: the endpoint of all of them. */
export const MERGED = 'gateway';

/** JSON strings, numbers and arrays of them are TOML as they are. */
const tomlTable = (values) => `{ ${Object.entries(values).map(([key, value]) => `${JSON.stringify(key)} = ${JSON.stringify(value)}`).join(', ')} }`;

/** A `mux.toml` for the named servers, whose environment gets `marker` too; `gateway`: keys of the merged endpoint. */
function muxToml(names, dir, marker, gateway) {
  const front = hasFront ? 'http = "127.0.0.1:0"\nsession = { max_sessions = 200 }\n' : '';
  const merged = gateway ? `gateway = ${tomlTable(gateway)}\n` : '';
  return front + merged + names.map((name) => {
    const server = servers[name];
    const keys = { socket: socketOf(name, dir), cmd: server.cmd, args: server.args, ...(server.cwd ? { cwd: server.cwd } : {}), lazy_start: true, ...server.mux };
    const lines = Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    return `[servers.${JSON.stringify(name)}]\n${lines.join('\n')}\nenv = ${tomlTable({ ...server.env, ...marker })}\n`;
  }).join('\n');
}

const children = new Set();
const fronts = new Map();

const pathOf = { mcp: (name) => `/servers/${name}/mcp`, ws: (name) => `/servers/${name}/ws`, sse: (name) => `/sse/${name}` };
const mergedPathOf = { mcp: '/mcp', ws: '/ws', sse: '/sse' };

/** Where a server is reached over HTTP: `mcp` on Streamable HTTP, `sse` on HTTP+SSE, `ws` on WebSocket. */
export function urlOf(name, kind = 'mcp', dir = tmp) {
  const url = new URL(name === MERGED ? mergedPathOf[kind] : pathOf[kind](name), fronts.get(dir));
  if (kind === 'ws') url.protocol = 'ws:';
  return url;
}

/** One running `muxloop -c`, or `muxloop serve`. */
export class Daemon {
  /** Nothing is started where each client starts its own. */
  static async start(names, { dir = tmp, marker = {}, gateway } = {}) {
    const config = configOf(dir);
    writeFileSync(config, muxToml(names, dir, marker, gateway));
    const daemon = new Daemon();
    daemon.log = logOf(dir);
    const log = openSync(daemon.log, 'a');
    if (over === 'serve') return daemon;
    const args = over === 'socket' ? ['serve', '--socket', socketOf(MERGED, dir), '-c', config] : ['-c', config];
    daemon.process = spawn(required('MUXLOOP_BIN'), args, { env: environment(dir), stdio: ['ignore', log, log] });
    closeSync(log);
    children.add(daemon.process);
    daemon.exited = once(daemon.process, 'exit').then(([code, signal]) => {
      children.delete(daemon.process);
      daemon.ended = signal ?? `exit code ${code}`;
    });
    const listening = over === 'socket' ? [MERGED] : names;
    await Promise.all(listening.map((name) => daemon.#listening(socketOf(name, dir))));
    if (hasFront) fronts.set(dir, await daemon.#front());
    return daemon;
  }

  /** The address of the HTTP front, which listens before the log says so. */
  async #front() {
    const look = () => /http: listening on (http:\S+)/.exec(readFileSync(this.log, 'utf8'))?.[1];
    return eventually(async () => look(), 'muxloop listens for HTTP');
  }

  async #listening(path) {
    const end = Date.now() + deadlineMs;
    for (;;) {
      const socket = connectSocket(path);
      const up = await Promise.race([once(socket, 'connect').then(() => true, () => false)]);
      socket.destroy();
      if (up) return;
      if (this.ended) throw new Error(`muxloop ended (${this.ended}):\n${this.tail()}`);
      if (Date.now() > end) throw new Error(`nobody listens on ${path} after ${deadlineMs} ms:\n${this.tail()}`);
      await delay(20);
    }
  }

  tail(lines = 20) {
    return readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines).map((line) => `    | ${line}`).join('\n');
  }

  async stop(signal = 'SIGTERM') {
    if (!this.process) return;
    if (!this.ended) this.process.kill(signal);
    await within(this.exited, 'muxloop ends after a signal');
  }
}

/** How a client starts `name`: the shim to muxloop, or with `--direct` the server itself. */
export function launch(name, dir = tmp) {
  if (direct) return launchServer(name);
  const command = required('MUXLOOP_BIN');
  const env = environment(dir);
  if (over !== 'serve') return { command, args: ['proxy', '--socket', socketOf(name, dir)], env, stderr: 'inherit' };
  return { command, args: ['serve', '--stdio', '-c', configOf(dir), '--log', logOf(dir)], env, stderr: 'inherit' };
}

/** Ours, but what muxloop keeps of servers' lists is in `dir`. */
const environment = (dir) => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== undefined)),
  XDG_CACHE_HOME: join(dir, 'cache'),
});

/** How a server is started without muxloop. */
export function launchServer(name) {
  const env = environment(tmp);
  const server = servers[name];
  return { command: server.cmd, args: server.args, cwd: server.cwd, env: { ...env, ...server.env }, stderr: 'ignore' };
}

export async function within(promise, what, ms = deadlineMs) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms); });
  try { return await Promise.race([promise, late]); } finally { clearTimeout(timer); }
}

/** Asks again until `look()` gives something true. For facts that only a call can show. */
export async function eventually(look, what) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(25);
  }
}

const scenarios = [];

/**
 * Declares a scenario. `mux: true`: it only means something with one server shared by several clients.
 * `on`: the ways to reach muxloop by which it runs, all of them if absent.
 */
export function scenario(name, run, { mux = false, on } = {}) {
  const fits = !on || on.includes(over);
  if (fits && (!mux || !direct) && (!only || name.includes(only))) scenarios.push({ name, run });
}

/**
 * Runs all scenarios one after the other, prints one line each and ends the process.
 * `gateway`: keys of the merged endpoint, see `MERGED`.
 */
export async function main(driver, { names, open, gateway }) {
  const title = over === 'stdio' || driver === over ? driver : `${driver}-${over}`;
  let daemon;
  let passed = 0;
  let failed = 0;
  try {
    if (!direct && names.length > 0) daemon = await Daemon.start(names, { gateway });
    for (const { name, run } of scenarios) {
      const peers = [];
      const started = Date.now();
      try {
        await within(run({
          open: async (server, settings) => {
            const peer = await within(open(server, settings), `${settings?.label ?? 'a client'} connects to ${server}`);
            peers.push(peer);
            return peer;
          },
        }), 'the scenario ends', scenarioMs);
        const violations = peers.flatMap((peer) => peer.wire.violations.map((what) => `${peer.label}: ${what}`));
        if (violations.length > 0) throw new Error(violations.slice(0, 3).join('; '));
        passed += 1;
        console.log(`ok ${title}/${name} (${Date.now() - started} ms)`);
      } catch (error) {
        failed += 1;
        console.log(`FAIL ${title}/${name} ${String(error?.cause ? `${error.message}: ${error.cause?.stack ?? error.cause}` : error?.message ?? error).split('\n').slice(0, 4).join(' ')}`);
        if (daemon) console.log(daemon.tail());
      } finally {
        await Promise.all(peers.map((peer) => within(peer.close(), 'a client closes').catch(() => {})));
      }
      if (failed >= GIVE_UP) throw new Error(`${failed} scenarios failed; the rest did not run`);
      if (daemon?.ended) throw new Error(`muxloop ended (${daemon.ended})`);
    }
    await daemon?.stop();
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${title}/run ${error?.stack ?? error}`);
    if (daemon) console.log(daemon.tail());
  }
  for (const child of children) child.kill('SIGKILL');
  rmSync(tmp, { recursive: true, force: true });
  console.log(`${title}: ${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
