// Driver: `kill -9` of muxloop while servers started as npx → sh → node trees
// are busy. Two seconds later none of their processes may live, and a new
// muxloop must get the same sockets. Processes are found by a marker in their
// environment, which every process of a tree inherits. Linux only (/proc).
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Daemon, direct, eventually, main, scenario } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';
import { killAll, marked } from './processes.mjs';

const MARK = 'MUXLOOP_INTEROP_TREE';
const GRACE_MS = 2_000;

const SERVERS = ['npx-tree', 'npx-tree-serialize', 'npx-tree-client'];

for (const round of [1, 2]) {
  scenario(`kill -9 under load, round ${round}`, async () => {
    const value = randomUUID();
    // The marker is set for the servers only: the daemon itself and its clients are not counted.
    const before = await Daemon.start(SERVERS, { marker: { [MARK]: value } });
    const peers = [];
    try {
      for (const [i, server] of [...SERVERS, ...SERVERS].entries()) peers.push(await openLegacy(server, { label: `c${i}`, interactive: true }));
      const load = peers.flatMap((peer) => Array.from({ length: 4 }, async () => {
        for (let n = 0; ; n += 1) {
          if (n % 10 === 0) peer.call('trigger-long-running-operation', { duration: 5, steps: 5 }).catch(() => {});
          await peer.call('echo', { message: 'load' });
        }
      })).map((loop) => loop.catch(() => {}));
      await Promise.all(peers.map((peer) => peer.call('echo', { message: 'up' })));
      const alive = marked(MARK, value);
      assert(alive.some((line) => /npx|npm/.test(line)), `no npx in ${JSON.stringify(alive)}`);
      assert(alive.length >= 2 * SERVERS.length, `too few processes to prove anything: ${JSON.stringify(alive)}`);

      await before.stop('SIGKILL');
      const end = Date.now() + GRACE_MS;
      let left;
      do { await delay(50); left = marked(MARK, value); } while (left.length > 0 && Date.now() < end);
      assert.deepEqual(left, [], `still alive ${GRACE_MS} ms after kill -9`);
      await Promise.all(load);
    } finally {
      await Promise.all(peers.map((peer) => peer.close().catch(() => {})));
      if (!before.ended) await before.stop('SIGKILL');
      killAll(marked(MARK, value));
    }

    const after = await Daemon.start(SERVERS, { marker: { [MARK]: value } });
    try {
      for (const server of SERVERS) {
        const peer = await openLegacy(server, { label: 'again' });
        assert.equal(await peer.call('echo', { message: 'again' }), 'Echo: again');
        await peer.close();
      }
    } finally {
      await after.stop();
    }
    await eventually(() => marked(MARK, value).length === 0, 'no process is left after SIGTERM');
  }, { mux: true });
}

if (direct) {
  // Without muxloop there is nothing to kill, but the tree itself must start.
  scenario('the npx tree starts', async (t) => {
    const peer = await t.open('npx-tree');
    assert.equal(await peer.call('echo', { message: 'hi' }), 'Echo: hi');
  });
}

await main('orphans', { names: [], open: openLegacy });
