// Driver: what only HTTP has. Streams that break and are resumed, sessions that
// end, clients that come by different ways to one server, and programs that are
// not the SDKs' own: `mcp-remote` and the Inspector's command line.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as T from '@modelcontextprotocol/sdk/types.js';
import { deadlineMs, eventually, main, scenario, tmp, urlOf } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';
import { openModern } from './modern-peer.mjs';

const SERVERS = ['everything-serialize', 'legacy-ts', 'legacy-ts-serialize', 'demo', 'modern-ts'];
const WAYS = ['http', 'sse', 'ws', 'stdio'];
const THIRD_PARTY = join(process.env.INTEROP_THIRD_PARTY, 'node_modules');
/** These programs want a newer Node than the rest does. */
const NODE_22 = join(THIRD_PARTY, '.bin/node');

/** A `fetch` whose event streams can be broken, as if the network had. */
function fragile() {
  const open = new Set();
  const requests = [];
  return {
    requests,
    /** Breaks the event streams of requests with this method; how many there were. */
    cut(method) {
      const hit = [...open].filter((stream) => stream.method === method);
      for (const stream of hit) stream.controller.abort();
      return hit.length;
    },
    async fetch(url, init = {}) {
      const method = init.method ?? 'GET';
      const controller = new AbortController();
      const signal = init.signal ? AbortSignal.any([init.signal, controller.signal]) : controller.signal;
      requests.push({ method, lastEventId: new Headers(init.headers).get('last-event-id') });
      const response = await fetch(url, { ...init, signal });
      if (!response.headers.get('content-type')?.includes('text/event-stream')) return response;
      const stream = { method, controller };
      open.add(stream);
      const whole = new TransformStream({ flush: () => void open.delete(stream) });
      response.body.pipeTo(whole.writable).catch(() => open.delete(stream));
      return new Response(whole.readable, { status: response.status, headers: response.headers });
    },
  };
}

/** A client whose connections can be broken. */
async function openFragile(t, server, label) {
  const wires = fragile();
  const transport = new StreamableHTTPClientTransport(urlOf(server), {
    fetch: wires.fetch,
    reconnectionOptions: { initialReconnectionDelay: 20, maxReconnectionDelay: 200, reconnectionDelayGrowFactor: 1.5, maxRetries: 10 },
  });
  return { peer: await t.open(server, { label, transport }), wires };
}

scenario('resume/a broken answer goes on where it was', async (t) => {
  const { peer: a, wires } = await openFragile(t, 'legacy-ts', 'a');
  const b = await t.open('legacy-ts', { label: 'b' });
  const tag = `resumed-${process.hrtime.bigint()}`;
  const answer = a.call('slow', { tag, ms: 1_500, steps: 15 }, { onprogress: () => {} });
  await a.wire.until(() => a.wire.progress.length >= 3, 'progress');
  assert.equal(wires.cut('POST'), 1);
  assert.equal(await answer, `done ${tag}`);
  assert.deepEqual(a.wire.progress.map(({ progress }) => progress), Array.from({ length: 15 }, (_, i) => i + 1), 'each step once, in order');
  assert(wires.requests.some(({ method, lastEventId }) => method === 'GET' && lastEventId !== null), 'resumed by Last-Event-ID');
  assert(!(await b.json('stats')).cancelled.includes(tag), 'a broken stream is no cancel');
});

scenario('resume/what was announced meanwhile is not lost', async (t) => {
  const { peer: a, wires } = await openFragile(t, 'legacy-ts', 'a');
  const b = await t.open('legacy-ts', { label: 'b' });
  const [uri, updated] = ['test://item/missed', 'notifications/resources/updated'];
  await a.client.subscribeResource({ uri });
  await b.call('touch', { uri });
  await a.wire.until(() => a.wire.got(updated).length === 1, 'the first update');
  assert.equal(wires.cut('GET'), 1);
  await Promise.all([b.call('touch', { uri }), b.call('touch', { uri })]);
  await a.wire.until(() => a.wire.got(updated).length >= 3, 'the updates that were missed');
  await a.call('echo', { text: 'settle' });
  assert.equal(a.wire.got(updated).length, 3, 'none of them twice');
  assert(wires.requests.some(({ method, lastEventId }) => method === 'GET' && lastEventId !== null), 'resumed by Last-Event-ID');
});

scenario('session/DELETE ends it for this client only', async (t) => {
  const [a, b] = await Promise.all(['a', 'b'].map((label) => t.open('legacy-ts', { label })));
  const id = a.transport.sessionId;
  assert.match(id, /^[\x21-\x7e]{16,}$/);
  assert.notEqual(id, b.transport.sessionId);
  await a.transport.terminateSession();
  const again = await fetch(urlOf('legacy-ts'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': id },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  assert.equal(again.status, 404);
  assert.equal(await b.call('echo', { text: 'still here' }), 'still here');
  const c = await t.open('legacy-ts', { label: 'c' });
  assert.equal(await c.call('echo', { text: 'new here' }), 'new here');
});

scenario('ways/one server, clients by each of them', async (t) => {
  const peers = await Promise.all(WAYS.map((way) => t.open('legacy-ts-serialize', { label: way, way, interactive: true })));
  const pids = await Promise.all(peers.map(async (peer) => (await peer.json('stats')).pid));
  assert.equal(new Set(pids).size, 1, `one child: ${pids}`);
  await Promise.all(peers.map(async (peer) => {
    for (const round of [1, 2, 3]) {
      const mine = `${peer.label}-${round}`;
      const [echoed, slow, asked] = await Promise.all([
        peer.call('echo', { text: mine }),
        peer.call('slow', { tag: mine, ms: 60, steps: 3 }, { onprogress: () => {} }),
        peer.call('ask', { question: mine }),
      ]);
      assert.equal(echoed, mine);
      assert.equal(slow, `done ${mine}`);
      assert(asked.includes(`${peer.label} answers ${mine}`), asked);
    }
    // The Wire looked at every token; here that each client saw all of its own.
    assert.equal(peer.wire.progress.length, 9, `${peer.label} saw its own progress`);
    assert(peer.wire.progress.every(({ of }) => of.tag.startsWith(`${peer.label}-`)));
  }));
});

for (const way of WAYS) {
  scenario(`demo/${way}`, async (t) => {
    const a = await t.open('demo', { label: 'a', way, interactive: true });
    const { tools } = await a.client.listTools();
    assert(['echo', 'add', 'sleep', 'ask', 'log'].every((name) => tools.some((tool) => tool.name === name)));
    assert.equal(await a.call('add', { a: 2, b: 3 }), '5');
    assert.match(await a.call('echo', { text: 'grüße \u2028' }), /grüße \u2028/);
    assert.match(await a.call('ask', { question: 'who?' }), /a answers|a\b/);
    const { resources } = await a.client.listResources();
    assert(resources.length > 0);
    await assert.rejects(a.request('no/such', {}, T.EmptyResultSchema), (error) => error.code === -32601);
  });
}

scenario('sdk 2/an old session over http and sse', async (t) => {
  for (const way of ['http', 'sse']) {
    const a = await openModern('everything-serialize', { label: way, way, mode: 'legacy', interactive: true });
    try {
      assert.equal(await a.call('echo', { message: way }), `Echo: ${way}`);
      await a.call('trigger-long-running-operation', { duration: 0.2, steps: 2 }, { onprogress: () => {} });
      await a.wire.until(() => a.wire.progress.length === 2, 'progress');
      assert.match(await a.call('trigger-sampling-request', { prompt: 'p', maxTokens: 10 }), new RegExp(`${way} samples`));
      assert.deepEqual(a.wire.violations, []);
    } finally { await a.close(); }
  }
});

const run = promisify(execFile);
const inspect = async (server, ...args) => JSON.parse((await run(NODE_22, [
  join(THIRD_PARTY, '.bin/mcp-inspector'), '--cli', urlOf(server).href, '--transport', 'http', ...args,
], { timeout: deadlineMs, cwd: tmp, env: { ...process.env, HOME: tmp } })).stdout);

scenario('third party/inspector --cli', async () => {
  const { tools } = await inspect('everything-serialize', '--method', 'tools/list');
  assert(tools.some(({ name }) => name === 'echo'), JSON.stringify(tools));
  const { content } = await inspect('demo', '--method', 'tools/call', '--tool-name', 'add', '--tool-arg', 'a=2', '--tool-arg', 'b=3');
  assert.equal(content[0].text, '5');
  const { resources } = await inspect('demo', '--method', 'resources/list');
  assert(resources.length > 0);
});

scenario('third party/mcp-remote', async (t) => {
  for (const strategy of ['http-only', 'sse-only']) {
    const url = urlOf('legacy-ts-serialize', strategy === 'sse-only' ? 'sse' : 'mcp');
    const transport = new StdioClientTransport({
      command: NODE_22,
      args: [join(THIRD_PARTY, '.bin/mcp-remote'), url.href, '--transport', strategy],
      env: { ...process.env, HOME: tmp, MCP_REMOTE_CONFIG_DIR: join(tmp, 'mcp-remote') },
      stderr: 'ignore',
    });
    const a = await t.open('legacy-ts-serialize', { label: strategy, transport, interactive: true });
    assert((await a.client.listTools()).tools.length > 0);
    assert.equal(await a.call('echo', { text: strategy }), strategy);
    await a.call('slow', { tag: strategy, ms: 60, steps: 3 }, { onprogress: () => {} });
    await a.wire.until(() => a.wire.progress.length === 3, 'progress');
    assert((await a.call('ask', { question: 'q' })).includes(`${strategy} answers q`));
    const b = await t.open('legacy-ts-serialize', { label: 'b', way: 'http' });
    const before = a.wire.got('notifications/tools/list_changed').length;
    await b.call('grow');
    await eventually(async () => a.wire.got('notifications/tools/list_changed').length > before, 'the change comes through');
  }
});

await main('http', { names: SERVERS, open: openLegacy });
