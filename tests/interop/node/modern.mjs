// Driver: clients of the TypeScript SDK 2.x on 2026-07-28 servers of both SDKs.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { direct, eventually, main, scenario, within } from './harness.mjs';
import { REVISION, openModern } from './modern-peer.mjs';

const SERVERS = ['modern-ts', 'modern-py', 'dual-ts', 'everything'];
const META = 'io.modelcontextprotocol/';
const labels = (count, prefix = 'client') => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
const actors = (peers) => (direct ? peers : peers.slice(0, 1));
const settle = (peers) => Promise.all(peers.map((peer) => peer.call('echo', { text: 'settle' })));
const openAll = (t, server, names, more = {}) => Promise.all(names.map((label) => t.open(server, { label, ...more })));
const sha = (text) => createHash('sha256').update(text).digest('hex');
/** The ids of the `subscriptions/listen` streams that brought `method` (for `uri`), sorted. */
const streams = (peer, method, uri) => peer.wire.got(method)
  .filter(({ params }) => uri === undefined || params.uri === uri)
  .map(({ params }) => params._meta?.[`${META}subscriptionId`]).sort();

function bulk(bytes, seed) {
  const line = `${seed} "quoted" \\ back\u00e9\n`;
  return line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
}

for (const server of ['modern-ts', 'modern-py', 'dual-ts']) {
  scenario(`${server}/discover, lists, calls`, async (t) => {
    const a = await t.open(server, { label: 'a' });
    const discovered = a.client.getDiscoverResult();
    assert.deepEqual(discovered.supportedVersions, [REVISION]);
    assert(discovered.capabilities.tools && discovered.capabilities.prompts && discovered.capabilities.completions);
    assert.equal(discovered._meta[`${META}serverInfo`].name, server === 'modern-py' ? 'interop-modern-py' : 'interop-modern-ts');
    assert((await a.client.listTools()).tools.some(({ name }) => name === 'ask_all'));
    assert((await a.client.listPrompts()).prompts.some(({ name }) => name === 'greet'));
    assert.equal((await a.client.listResourceTemplates()).resourceTemplates[0].uriTemplate, 'test://item/{id}');
    assert.equal(await a.call('echo', { text: 'grüße \u2028 \u0000' }), 'grüße \u2028 \u0000');
    assert.match((await a.client.getPrompt({ name: 'greet', arguments: { who: 'you' } })).messages[0].content.text, /Hello you/);
    const done = await a.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'z' } });
    assert.deepEqual(done.completion.values, ['z-one', 'z-two']);
    assert.equal((await a.client.readResource({ uri: 'test://item/5' })).contents[0].text, 'content of test://item/5');
    await assert.rejects(a.client.getPrompt({ name: 'no-such-prompt' }), (error) => Number.isInteger(error.code) && error.code < 0);
  });

  scenario(`${server}/progress and cancel`, async (t) => {
    const [a, b] = await openAll(t, server, ['a', 'b']);
    const stop = new AbortController();
    const [tagA, tagB] = [`a-${process.hrtime.bigint()}`, `b-${process.hrtime.bigint()}`];
    const lost = a.call('slow', { tag: tagA, ms: 10_000, steps: 200 }, { signal: stop.signal, onprogress: () => {} });
    const kept = b.call('slow', { tag: tagB, ms: 600, steps: 6 }, { onprogress: () => {} });
    lost.catch(() => {});
    await a.wire.until(() => a.wire.progress.some(({ of }) => of.tag === tagA), 'progress of the call to cancel');
    await b.wire.until(() => b.wire.progress.some(({ of }) => of.tag === tagB), 'progress of the call to keep');
    stop.abort('enough');
    await assert.rejects(lost);
    await eventually(async () => (await a.json('stats')).cancelled.includes(tagA), 'the server sees the cancel');
    assert.equal(await kept, `done ${tagB}`);
    assert.deepEqual(b.wire.progress.map(({ progress, message }) => [progress, message]), [1, 2, 3, 4, 5, 6].map((n) => [n, tagB]));
    assert(!(await b.json('stats')).cancelled.includes(tagB), "b's call was cancelled too");
  });

  scenario(`${server}/input_required`, async (t) => {
    const peers = await openAll(t, server, labels(4), { interactive: true });
    await Promise.all(peers.map(async (peer) => {
      for (let round = 1; round <= 2; round += 1) {
        const mine = `${peer.label}-q${round}`;
        const [asked, all] = await Promise.all([peer.json('ask', { question: mine }), peer.json('ask_all', { question: `${mine}-all` })]);
        assert.deepEqual(asked, { action: 'accept', content: { answer: `${peer.label} answers ${mine}` }, state: `state of ${mine}` });
        assert.deepEqual(all, {
          answer: `${peer.label} answers ${mine}-all`, sample: `${peer.label} samples ${mine}-all`, roots: [`file:///roots/${peer.label}`],
        });
      }
    }));
    for (const peer of peers) {
      assert(peer.asked.every((question) => question.startsWith(`${peer.label}-q`)), `${peer.label} was asked a stranger's question`);
      assert.deepEqual(peer.wire.questions, [], 'no request of a server in this revision');
    }
  });

  scenario(`${server}/listen`, async (t) => {
    const [a, b, c] = await openAll(t, server, ['a', 'b', 'c']);
    const [one, two] = ['test://item/one', 'test://item/two'];
    const [updated, tools] = ['notifications/resources/updated', 'notifications/tools/list_changed'];
    const subscriptionA = await a.client.listen({ resourceSubscriptions: [one], toolsListChanged: true });
    const subscriptionB = await b.client.listen({ resourceSubscriptions: [one, two] });
    assert.deepEqual(subscriptionA.honoredFilter.resourceSubscriptions, [one]);
    assert.equal(subscriptionA.honoredFilter.toolsListChanged, true);
    const counts = (method, uri) => [a, b, c].map((peer) => streams(peer, method, uri).length);
    const act = async (tool, args) => {
      for (const peer of actors([a, b, c])) await peer.call(tool, args);
      await settle([a, b, c]);
    };
    await act('touch', { uri: one });
    await a.wire.until(() => streams(a, updated, one).length === 1, 'update of one');
    await b.wire.until(() => streams(b, updated, one).length === 1, 'update of one');
    await act('touch', { uri: two });
    await b.wire.until(() => streams(b, updated, two).length === 1, 'update of two');
    await act('grow');
    await a.wire.until(() => streams(a, tools).length === 1, 'tools/list_changed');
    await settle([a, b, c]);
    assert.deepEqual([counts(updated, one), counts(updated, two), counts(tools)], [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
    const own = (peer) => new Set(peer.wire.notifications.map(({ params }) => params?._meta?.[`${META}subscriptionId`]).filter((id) => id !== undefined));
    for (const peer of [a, b]) {
      for (const id of own(peer)) assert(peer.wire.sentIds.includes(id), `${peer.label} never listened as ${JSON.stringify(id)}`);
    }
    await subscriptionA.close();
    assert.equal(await subscriptionA.closed, 'local');
    await settle([a]);
    await act('touch', { uri: one });
    await b.wire.until(() => streams(b, updated, one).length === 2, 'second update of one');
    await settle([a]);
    assert.deepEqual(counts(updated, one), [1, 2, 0]);
    await subscriptionB.close();
  });

  scenario(`${server}/5 MB results`, async (t) => {
    const peers = await openAll(t, server, labels(3));
    await Promise.all(peers.map(async (peer) => {
      const [big, small] = await Promise.all([peer.call('big', { bytes: 5_000_000, seed: peer.label }), peer.call('echo', { text: peer.label })]);
      assert.equal(small, peer.label);
      assert.equal(sha(big), sha(bulk(5_000_000, peer.label)), `${peer.label} got other bytes`);
    }));
  }, server === 'modern-ts' ? {} : { on: ['stdio'] });
}

scenario('modern-ts/two listens of one client', async (t) => {
  const a = await t.open('modern-ts', { label: 'a' });
  const uris = ['test://item/l1', 'test://item/l2'];
  const subscriptions = await Promise.all(uris.map((uri) => a.client.listen({ resourceSubscriptions: [uri] })));
  for (const uri of uris) await a.call('touch', { uri });
  const updated = 'notifications/resources/updated';
  await a.wire.until(() => a.wire.got(updated).length === 2, 'both updates');
  const [first, second] = uris.map((uri) => streams(a, updated, uri));
  assert.equal(first.length, 1);
  assert.equal(second.length, 1);
  assert.notDeepEqual(first, second, 'each update bears the id of its own listen');
  await Promise.all(subscriptions.map((subscription) => subscription.close()));
});

scenario('modern-ts/several rounds and prompts that ask', async (t) => {
  const peers = await openAll(t, 'modern-ts', labels(3), { interactive: true });
  await Promise.all(peers.map(async (peer) => {
    const answers = await peer.json('ask_twice', { question: peer.label });
    assert.deepEqual(answers, [1, 2].map((n) => `${peer.label} answers ${peer.label} ${n}`));
    const prompt = await peer.client.getPrompt({ name: 'greet_asked' });
    assert.equal(prompt.messages[0].content.text, `Hello ${peer.label} answers who?`);
  }));
});

scenario('modern-ts/a question that the client did not offer to answer', async (t) => {
  const a = await t.open('modern-ts', { label: 'a' });
  await assert.rejects(a.client.callTool({ name: 'ask', arguments: { question: 'q' } }), (error) => error.code === -32021 && error.data?.requiredCapabilities?.elicitation !== undefined);
});

scenario('modern-ts/log lines only where asked for', async (t) => {
  const [a, b] = await openAll(t, 'modern-ts', ['a', 'b']);
  const heard = (peer) => peer.wire.got('notifications/message').map(({ params }) => params.data);
  const level = (value) => ({ _meta: { [`${META}logLevel`]: value } });
  assert.equal(await a.call('log', { level: 'warning', text: 'heard' }, level('info')), 'asked for info');
  assert.equal(await a.call('log', { level: 'debug', text: 'too low' }, level('info')), 'asked for info');
  assert.equal(await b.call('log', { level: 'emergency', text: 'not asked' }), 'asked for none');
  await settle([a, b]);
  assert.deepEqual([heard(a), heard(b)], [['heard'], []]);
});

scenario('modern-ts/passthrough', async (t) => {
  const a = await t.open('modern-ts', { label: 'a' });
  const sent = { nested: [1.5, null, { k: 'v' }] };
  const answer = await a.client.callTool({ name: 'echo', arguments: { text: 'x' }, _meta: { 'example.com/sent': sent } });
  assert.deepEqual(answer._meta['example.com/seen'], sent);
  assert.deepEqual((await a.client.callTool({ name: 'structured', arguments: { n: 4 } })).structuredContent, { n: 4, twice: 8 });
  assert.equal((await a.json('stats')).client, 'a', "the server sees the caller's own client info");
});

scenario('modern-ts/one child', async (t) => {
  const peers = await openAll(t, 'modern-ts', labels(5));
  const stats = await Promise.all(peers.map((peer) => peer.json('stats')));
  assert.equal(new Set(stats.map(({ pid }) => pid)).size, 1, 'one process');
  assert.deepEqual(stats.map(({ client }) => client), peers.map(({ label }) => label));
}, { mux: true });

scenario('modern-ts/disconnect cancels what was in flight', async (t) => {
  const [a, b] = await openAll(t, 'modern-ts', ['a', 'b']);
  const tag = `gone-${process.hrtime.bigint()}`;
  a.call('slow', { tag, ms: 15_000, steps: 300 }, { onprogress: () => {} }).catch(() => {});
  await a.wire.until(() => a.wire.progress.length > 0, 'progress');
  await a.close();
  await eventually(async () => (await b.json('stats')).cancelled.includes(tag), 'the server sees the cancel');
}, { mux: true });

scenario('modern-ts/crash: an error, then a new child that is listened to', async (t) => {
  const [a, b] = await openAll(t, 'modern-ts', ['a', 'b']);
  const uri = 'test://item/kept';
  const updated = 'notifications/resources/updated';
  const subscription = await b.client.listen({ resourceSubscriptions: [uri] });
  const { pid } = await b.json('stats');
  const waiting = b.call('slow', { tag: 'doomed', ms: 15_000, steps: 300 }, { onprogress: () => {} });
  waiting.catch(() => {});
  await b.wire.until(() => b.wire.progress.length > 0, 'progress');
  await assert.rejects(a.call('die'));
  await assert.rejects(within(waiting, 'the call in flight gets its error'), (error) => error.code === -32603 && error.data?.muxloop !== undefined);
  const after = await eventually(() => b.json('stats').catch(() => undefined), 'a new child answers');
  assert.notEqual(after.pid, pid);
  const before = streams(b, updated, uri).length;
  await eventually(async () => {
    await a.call('touch', { uri });
    await settle([b]);
    return streams(b, updated, uri).length > before;
  }, 'the same listen brings updates of the new child');
  await subscription.close();
}, { mux: true });

scenario('modern-ts/20 clients, colliding ids and tokens', async (t) => {
  const peers = await openAll(t, 'modern-ts', labels(20, 'crowd'), { interactive: true });
  await Promise.all(peers.map((peer) => Promise.all(Array.from({ length: 6 }, async (_, n) => {
    const mine = `${peer.label}/${n}`;
    const [echo, slow, asked, item] = await Promise.all([
      peer.call('echo', { text: mine }),
      peer.call('slow', { tag: mine, ms: 60 + 20 * n, steps: 3 }, { onprogress: () => {} }),
      peer.json('ask', { question: mine }),
      peer.client.readResource({ uri: `test://item/${mine.replace('/', '-')}` }),
    ]);
    assert.equal(echo, mine);
    assert.equal(slow, `done ${mine}`);
    assert.deepEqual(asked, { action: 'accept', content: { answer: `${peer.label} answers ${mine}` }, state: `state of ${mine}` });
    assert.equal(item.contents[0].text, `content of test://item/${mine.replace('/', '-')}`);
    assert.deepEqual(peer.wire.progress.filter(({ of }) => of.tag === mine).map(({ message }) => message), [mine, mine, mine]);
  }))));
  for (const peer of peers) assert(peer.asked.every((question) => question.startsWith(`${peer.label}/`)), peer.label);
  const used = peers.map((peer) => new Set(peer.wire.sentIds));
  assert(used[0].size > 20 && used.every((ids) => ids.has(used[0].values().next().value)), 'the clients use the same ids');
});

scenario('modern-ts/a client that tries both revisions gets the new one', async (t) => {
  const a = await t.open('modern-ts', { label: 'a', mode: 'auto' });
  assert.deepEqual(a.client.getDiscoverResult().supportedVersions, [REVISION]);
  assert.equal(await a.call('echo', { text: 'hi' }), 'hi');
});

scenario('everything/a client that tries both revisions gets the new one of muxloop', async (t) => {
  const a = await t.open('everything', { label: 'a', mode: 'auto' });
  assert.deepEqual(a.client.getDiscoverResult()?.supportedVersions, direct ? undefined : [REVISION]);
  assert.equal(a.client.getServerVersion().name, 'mcp-servers/everything');
  assert.equal(await a.call('echo', { message: 'hi' }), 'Echo: hi');
});

scenario('everything/a client of the old revision', async (t) => {
  const a = await t.open('everything', { label: 'a', mode: 'legacy' });
  assert.equal(await a.call('echo', { message: 'hi' }), 'Echo: hi');
  await a.client.ping();
});

scenario('everything/clients of both revisions on one child', async (t) => {
  const old = await t.open('everything', { label: 'old', mode: 'legacy' });
  assert.equal(await old.call('echo', { message: 'hi' }), 'Echo: hi');
  const fresh = await t.open('everything', { label: 'new' });
  assert.equal(await fresh.call('echo', { message: 'hi' }), 'Echo: hi');
  assert.equal(await old.call('echo', { message: 'still' }), 'Echo: still');
}, { mux: true });

await main('node-modern', { names: SERVERS, open: openModern });
