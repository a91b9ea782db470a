// Driver: one of several servers behind one endpoint is late, hangs or is killed. The others do not notice, a list
// comes when it is due, and whoever listens is told what comes back.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, MERGED, eventually, main, scenario, servers, tmp, within } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';
import { openModern } from './modern-peer.mjs';

/** How long a list waits for a server, and how much longer it may take on a busy machine. */
const LIST_MS = 3_000;
const SLACK_MS = 4_000;
const OTHERS = ['memory', 'demo'];
const PYTHON = 'legacy-py-serialize';
const STEERED = 'legacy-ts';

const of = (server, name) => `${server}__${name}`;
const toolsChanged = (peer) => peer.wire.got('notifications/tools/list_changed').length;
const toolsOf = async (peer) => (await peer.client.listTools()).tools.map(({ name }) => name);

/** All tools, and how many milliseconds it took. */
async function timed(peer) {
  const started = Date.now();
  const tools = await toolsOf(peer);
  return { tools, ms: Date.now() - started };
}

/** Waits until the tools pass `test`, asking only when something was announced after `told` announcements. */
async function untilListed(peer, told, test, what) {
  for (let heard = told; ;) {
    await peer.wire.until(() => toolsChanged(peer) > heard, `list_changed: ${what}`);
    heard = toolsChanged(peer);
    if (test(await toolsOf(peer))) return;
  }
}

let folders = 0;

/** Runs `play` with a muxloop of its own and a client of each era that listens for changes of the tools. */
function staged(name, names, play, rewrite = (server) => server) {
  for (const era of ['old', 'new']) {
    scenario(`${era}/${name}`, async () => {
      folders += 1;
      const dir = join(tmp, `${folders}`);
      mkdirSync(dir);
      const kept = names.map((each) => [each, servers[each]]);
      for (const [each, server] of kept) servers[each] = rewrite(server, each, dir);
      const daemon = await Daemon.start(names, { dir, gateway: { list_timeout_ms: LIST_MS } });
      for (const [each, server] of kept) servers[each] = server;
      const peers = [];
      const open = async (label) => {
        const peer = await within((era === 'old' ? openLegacy : openModern)(MERGED, { label, dir }), `${label} connects`);
        peers.push(peer);
        if (era === 'new') await peer.client.listen({ toolsListChanged: true });
        return peer;
      };
      try {
        await play({ open, dir });
        assert.deepEqual(peers.flatMap(({ wire }) => wire.violations), []);
      } catch (error) {
        throw new Error(`${error.message}\n${daemon.tail()}`, { cause: error });
      } finally {
        await Promise.all(peers.map((peer) => within(peer.close(), 'a client closes').catch(() => {})));
        await daemon.stop();
      }
    });
  }
}

/** Calls the others until `done` says so; how often. None of the calls may fail. */
function keepCalling(peer, done) {
  const loop = async () => {
    let calls = 0;
    for (; !done(); calls += 1) {
      assert.equal(await peer.call(of('demo', 'add'), { a: calls, b: 1 }), `${calls + 1}`);
      assert.match(await peer.call(of('memory', 'read_graph')), /entities/);
    }
    return calls;
  };
  const calling = loop();
  // Whoever waits for it sees the failure; a scenario that fails before does not.
  calling.catch(() => {});
  return calling;
}

/** A list without a server comes when it is due, the next one at once; once `wake()` was called, it is told. */
async function comesLater({ open, dir }, wake) {
  const a = await open('a');
  const b = await open('b');
  const first = await timed(a);
  assert(first.ms < LIST_MS + SLACK_MS, `the list took ${first.ms} ms`);
  const ofLate = ({ tools }) => tools.filter((tool) => tool.startsWith(of(PYTHON, '')));
  assert.deepEqual(ofLate(first), []);
  for (const other of OTHERS) assert(first.tools.some((tool) => tool.startsWith(of(other, ''))), other);
  const second = await timed(b);
  assert(second.ms < LIST_MS, `the next list waited, too: ${second.ms} ms`);
  assert.deepEqual(second.tools, first.tools);
  let isThere = false;
  // Who knows a tool's name need not wait for the list.
  const early = b.call(of(PYTHON, 'echo'), { text: 'early' }).then((text) => text, (error) => error);
  const calling = keepCalling(b, () => isThere);
  const told = toolsChanged(a);
  wake(dir);
  await untilListed(a, told, (tools) => tools.includes(of(PYTHON, 'echo')), 'it is there');
  assert.equal(await a.call(of(PYTHON, 'echo'), { text: 'here' }), 'here');
  isThere = true;
  assert(await calling > 0);
  // It was called by a name that nobody knew yet: found by then, or not.
  const said = await early;
  assert(said === 'early' || said.code === -32602, `${said}`);
}

const behind = (script, file) => (server, name, dir) => (name !== PYTHON ? server : {
  ...server, cmd: 'sh', args: ['-c', script, join(dir, file), server.cmd, ...server.args],
});

staged('a server that is slow to start', [...OTHERS, PYTHON], (stage) => (
  comesLater(stage, (dir) => writeFileSync(join(dir, 'go'), ''))
), behind('until [ -e "$0" ]; do sleep 0.05; done; exec "$@"', 'go'));

staged('a server that hangs from the start', [...OTHERS, PYTHON], (stage) => (
  comesLater(stage, (dir) => process.kill(Number(readFileSync(join(dir, 'pid'), 'utf8')), 'SIGCONT'))
), behind('echo $$ >"$0"; kill -STOP $$; exec "$@"', 'pid'));

staged('kill -9', [...OTHERS, STEERED], async ({ open }) => {
  const [a, b] = [await open('a'), await open('b')];
  const grown = of(STEERED, await a.call(of(STEERED, 'grow')));
  await eventually(async () => (await toolsOf(b)).includes(grown), 'the grown tool');
  const { pid } = await b.json(of(STEERED, 'stats'));
  const waiting = a.call(of(STEERED, 'slow'), { tag: 'doomed', ms: 15_000, steps: 300 }, { onprogress: () => {} });
  waiting.catch(() => {});
  await a.wire.until(() => a.wire.progress.length > 0, 'progress');
  let isBack = false;
  const calling = keepCalling(b, () => isBack);
  const told = toolsChanged(a);
  process.kill(pid, 'SIGKILL');
  await assert.rejects(within(waiting, 'the call gets its error'), (error) => error.code === -32603);
  const list = await timed(b);
  assert(list.ms < LIST_MS + SLACK_MS, `the list took ${list.ms} ms`);
  assert(list.tools.includes(of(STEERED, 'echo')), 'names do not go with the crash');
  const after = await eventually(() => b.json(of(STEERED, 'stats')).catch(() => undefined), 'a new process answers');
  assert.notEqual(after.pid, pid);
  await untilListed(a, told, (tools) => !tools.includes(grown), 'the new process has not grown');
  isBack = true;
  assert(await calling > 0);
});

// The one announces changes of its tools, so that it need not be asked for a list. The other is asked each time.
for (const server of [STEERED, PYTHON]) {
  staged(`SIGSTOP and SIGCONT of ${server}`, [...OTHERS, server], async ({ open }) => {
    const [a, b] = [await open('a'), await open('b')];
    const before = await eventually(async () => {
      const tools = await toolsOf(a);
      return [...OTHERS, server].every((name) => tools.some((tool) => tool.startsWith(of(name, '')))) && tools;
    }, 'all are there');
    const { pid } = await b.json(of(server, 'stats'));
    process.kill(pid, 'SIGSTOP');
    try {
      const waiting = a.call(of(server, 'echo'), { text: 'patience' });
      waiting.catch(() => {});
      const lists = [await timed(a), await timed(b)];
      for (const { tools } of lists) assert.deepEqual(tools, before, 'its tools stay');
      assert(lists[0].ms < LIST_MS + SLACK_MS, `the list took ${lists[0].ms} ms`);
      assert(lists[1].ms < LIST_MS, `the next list waited, too: ${lists[1].ms} ms`);
      let calls = 0;
      await keepCalling(b, () => (calls += 1) > 50);
      process.kill(pid, 'SIGCONT');
      assert.equal(await within(waiting, 'the call is answered'), 'patience');
    } finally { process.kill(pid, 'SIGCONT'); }
    if (server !== STEERED) return;
    const told = toolsChanged(a);
    const grown = of(server, await b.call(of(server, 'grow')));
    await untilListed(a, told, (tools) => tools.includes(grown), 'it has grown');
  });
}

await main('gateway-faults', { names: [], open: () => assert.fail('each scenario opens its own') });
