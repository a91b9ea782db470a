// Runs the official conformance suites twice over the same server: over its
// SDK's own HTTP transport, and through muxloop in front of its stdio. Prints a
// table per version and fails if muxloop passes less. `--write` puts the tables
// into docs/conformance.md, `--only=TEXT` takes the runs whose title has TEXT.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { REMARKS, RUNS } from './runs.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { MUXLOOP_BIN, CONFORMANCE_HOME, CONFORMANCE_DOC } = process.env;
const option = (name) => process.argv.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const modules = join(CONFORMANCE_HOME, 'node_modules');
const suiteNode = join(modules, '.bin/node');
const DEADLINE_MS = 180_000;

const started = [];
/** Starts a program whose output goes to `log`. */
function start(command, args, stdio) {
  const child = spawn(command, args, { stdio });
  started.push(child);
  child.on('error', (error) => console.error(`${command}: ${error.message}`));
  return child;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(timer);
}

/** The first group of `pattern` in what `stream` says, line by line; `end` gets every line. */
function firstMatch(child, stream, pattern, what) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not start within 20 s`)), 20_000);
    child.once('exit', (code) => reject(new Error(`${what} ended with status ${code} before it served`)));
    createInterface({ input: stream }).on('line', (line) => {
      const match = pattern.exec(line);
      if (process.env.CONFORMANCE_VERBOSE) console.error(`${what}: ${line}`);
      if (!match) return;
      clearTimeout(timer);
      resolve(match[1]);
    });
  });
}

/** The server over its SDK's HTTP. */
async function direct(run) {
  const child = start(process.execPath, [join(here, run.program), '--http', '0'], ['ignore', 'pipe', 'inherit']);
  return { child, url: await firstMatch(child, child.stdout, /^(http:\S+)$/, run.program) };
}

/** muxloop in front of the server's stdio. */
async function throughMuxloop(run, home) {
  const config = join(home, 'mux.toml');
  const values = { cmd: process.execPath, args: [join(here, run.program)], socket: join(home, 'c.sock'), ...run.mux };
  const lines = Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  writeFileSync(config, [
    'http = "127.0.0.1:0"',
    'control = "off"',
    // The suite's clients leave without DELETE, faster than sessions are given up.
    'session = { max_sessions = 1000 }',
    '[servers.conformance]',
    ...lines,
  ].join('\n'));
  const child = start(MUXLOOP_BIN, ['-c', config], ['ignore', 'ignore', 'pipe']);
  const base = await firstMatch(child, child.stderr, /http: listening on (http:\S+)/, 'muxloop');
  return { child, url: `${base}/servers/conformance/mcp` };
}

/** Runs the suite against `url`: scenario → its checks. */
async function judge(run, url, home) {
  mkdirSync(home, { recursive: true });
  const args = [join(modules, run.suite, 'dist/index.js'), 'server', '--url', url, '-o', home, ...run.args];
  const child = start(suiteNode, args, ['ignore', 'pipe', 'pipe']);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { output += data; });
  const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  const results = new Map();
  for (const folder of readdirSync(home)) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT/.exec(folder)?.[1];
    if (scenario) results.set(scenario, JSON.parse(readFileSync(join(home, folder, 'checks.json'), 'utf8')));
  }
  if (results.size === 0) throw new Error(`the suite wrote no results:\n${output.slice(-2000)}`);
  return results;
}

const RANK = { fail: 0, warn: 1, pass: 2 };

/** How a scenario came out: its worst check, how many succeeded, what the others say. */
function verdict(checks) {
  if (!checks) return { outcome: 'fail', passed: 0, complaints: ['the suite gave no result'] };
  const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING');
  const outcome = bad.some(({ status }) => status === 'FAILURE') ? 'fail' : bad.length ? 'warn' : 'pass';
  return {
    outcome,
    passed: checks.filter(({ status }) => status === 'SUCCESS').length,
    complaints: bad.map((check) => `${check.id}: ${check.errorMessage ?? check.description}`),
  };
}

/** One scenario both ways. Worse: muxloop ranks below the server itself. */
function compare(run, scenario, own, muxed) {
  const [a, b] = [verdict(own), verdict(muxed)];
  const cell = ({ outcome, passed }) => `${outcome} ${passed}`;
  const remark = REMARKS[run.version]?.[scenario] ?? REMARKS.all?.[scenario] ?? '';
  return {
    scenario,
    worse: RANK[b.outcome] < RANK[a.outcome],
    complaints: { direct: a.complaints, muxloop: b.complaints },
    counts: [a.outcome, b.outcome],
    row: `| ${scenario} | ${cell(a)} | ${cell(b)} | ${remark} |`,
  };
}

async function both(run) {
  const home = mkdtempSync(join(tmpdir(), 'muxloop-conformance-'));
  try {
    const results = [];
    for (const [name, open] of [['direct', direct], ['muxloop', throughMuxloop]]) {
      const { child, url } = await open(run, home);
      results.push(await judge(run, url, join(home, name)));
      await stop(child);
    }
    const [own, muxed] = results;
    const names = [...new Set([...own.keys(), ...muxed.keys()])].sort();
    return names.map((name) => compare(run, name, own.get(name), muxed.get(name)));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function report(run, rows) {
  const passed = (way) => rows.filter(({ counts }) => counts[way] === 'pass').length;
  const total = `${run.title}: ${rows.length} scenarios, ${passed(0)} pass directly, ${passed(1)} through muxloop`;
  console.log(total);
  for (const { scenario, worse, complaints } of rows) {
    for (const way of ['direct', 'muxloop']) {
      for (const complaint of complaints[way]) console.log(`  ${worse ? 'WORSE ' : ''}${scenario} (${way}): ${complaint}`);
    }
  }
  return [
    `## ${run.title}`, '',
    `${rows.length} scenarios, ${passed(0)} pass directly, ${passed(1)} through muxloop.`, '',
    '| scenario | direct | through muxloop | remark |', '|---|---|---|---|',
    ...rows.map(({ row }) => row), '',
  ].join('\n');
}

let worse = 0;
const tables = [];
const chosen = RUNS.filter(({ title }) => title.includes(option('only') ?? ''));
try {
  for (const run of chosen) {
    const rows = await both(run);
    tables.push(report(run, rows));
    worse += rows.filter((row) => row.worse).length;
  }
} finally {
  await Promise.all(started.map(stop));
}
if (process.argv.includes('--write')) {
  const mark = '<!-- Tables: tools/conformance.sh --write -->\n';
  const [head] = readFileSync(CONFORMANCE_DOC, 'utf8').split(mark);
  writeFileSync(CONFORMANCE_DOC, `${head}${mark}\n${tables.join('\n')}`);
}
console.log(worse === 0 ? 'conformance: muxloop passes what the server passes' : `conformance: muxloop does worse in ${worse} scenarios`);
process.exit(worse === 0 && chosen.length > 0 ? 0 : 1);
