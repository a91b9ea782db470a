// Finds processes by a variable in their environment, which a whole tree of
// children inherits, whoever its parent has become. Linux only (/proc).
//
// As a program: `processes.mjs NAME VALUE` waits until none is left, prints
// `ok left-over processes`, or kills what is left and prints `FAIL …`.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The live (not zombie) processes that were started with `name=value`, as `pid command`. */
export function marked(name, value) {
  const found = [];
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${name}=${value}`)) continue;
      if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) continue;
      found.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()}`);
    } catch { /* it ended while we looked, or it is not ours to read */ }
  }
  return found;
}

export function killAll(processes) {
  for (const line of processes) {
    try { process.kill(Number.parseInt(line, 10), 'SIGKILL'); } catch { /* gone by now */ }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && existsSync('/proc/self/environ')) {
  const [, , name, value] = process.argv;
  const end = Date.now() + 5_000;
  let left = marked(name, value);
  while (left.length > 0 && Date.now() < end) {
    await delay(100);
    left = marked(name, value);
  }
  killAll(left);
  console.log(left.length === 0 ? 'ok left-over processes: none' : `FAIL left-over processes ${left.join(' | ')}`);
}
