// Driver: clients of one era on servers that know only the other, and clients
// of both on one child. Old: TypeScript SDK 1.x. New: SDK 2.x at 2026-07-28.
import assert from 'node:assert/strict';
import * as T from '@modelcontextprotocol/sdk/types.js';
import { deadlineMs, eventually, main, over, scenario, within } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';
import { REVISION, openModern } from './modern-peer.mjs';

const SERVERS = ['modern-ts', 'modern-py', 'legacy-ts', 'legacy-ts-serialize', 'legacy-py-serialize', 'everything', 'everything-serialize'];
const META = 'io.modelcontextprotocol/';
const NEW = ['stdio', 'http'];
const labels = (count, prefix = 'client') => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
const updated = (peer, uri) => peer.wire.got('notifications/resources/updated').filter(({ params }) => params.uri === uri).length;
const toolsChanged = (peer) => peer.wire.got('notifications/tools/list_changed').length;
const logged = (peer) => peer.wire.got('notifications/message').map(({ params }) => params.data);
const settle = (peers) => Promise.all(peers.map((peer) => peer.call('echo', { text: 'settle', message: 'settle' })));
const across = (name, run, on) => scenario(name, run, { mux: true, on });

/** Opens a client of either era. The new SDK has no WebSocket, and the new era no SSE of its own. */
const open = (server, { era = 'old', ...settings } = {}) => {
  if (era === 'old') return openLegacy(server, settings);
  return openModern(server, { ...settings, way: over === 'stdio' ? 'stdio' : 'http' });
};
const openAll = (t, server, names, more = {}) => Promise.all(names.map((label) => t.open(server, { label, ...more })));
const openMixed = (t, server, count, more) =>
  Promise.all(labels(count, 'mixed').map((label, i) => t.open(server, { label, era: i % 2 ? 'new' : 'old', ...more })));

/** The texts that a client was asked, in whichever way its era is asked. */
const heardBy = (peer) => peer.asked ?? peer.wire.questions.filter(({ method }) => method !== 'roots/list').map(({ method, params }) =>
  (method === 'elicitation/create' ? params.message : params.messages[0].content.text));

async function progressAndCancel(t, server, era) {
  const [a, b] = await openAll(t, server, [`${server}-a`, `${server}-b`], { era });
  const stop = new AbortController();
  const [lost, kept] = [`${over}-${process.hrtime.bigint()}-lost`, `${over}-${process.hrtime.bigint()}-kept`];
  const options = { signal: stop.signal, onprogress: () => {}, timeout: deadlineMs };
  const losing = a.call('slow', { tag: lost, ms: 10_000, steps: 200 }, options);
  losing.catch(() => {});
  await a.wire.until(() => a.wire.progress.some(({ of }) => of.tag === lost), 'progress of the call to cancel');
  stop.abort('enough');
  await assert.rejects(losing);
  assert.equal(await b.call('slow', { tag: kept, ms: 300, steps: 6 }, { onprogress: () => {} }), `done ${kept}`);
  const steps = b.wire.progress.map(({ progress, message }) => [progress, message]);
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6].map((n) => [n, kept]));
  await eventually(async () => (await b.json('stats')).cancelled.includes(lost), 'the server sees the cancel');
  assert(!(await b.json('stats')).cancelled.includes(kept), "b's call was cancelled too");
}

// --- old clients on servers that refuse `initialize` --------------------------

for (const server of ['modern-ts', 'modern-py']) {
  across(`old on ${server}/handshake, lists, calls`, async (t) => {
    const a = await t.open(server, { label: 'a' });
    assert.equal(a.client.getServerVersion().name, `interop-${server}`);
    const capabilities = a.client.getServerCapabilities();
    assert(capabilities.tools && capabilities.prompts && capabilities.completions, JSON.stringify(capabilities));
    const tools = await a.request('tools/list', undefined, T.ResultSchema.loose());
    assert(tools.tools.some(({ name }) => name === 'ask_all'));
    for (const key of ['resultType', 'ttlMs', 'cacheScope']) assert(!(key in tools), `${key} is of the new era`);
    assert(!(`${META}serverInfo` in (tools._meta ?? {})));
    assert.equal((await a.client.listResourceTemplates()).resourceTemplates[0].uriTemplate, 'test://item/{id}');
    assert.equal(await a.call('echo', { text: 'grüße \u2028 \u0000' }), 'grüße \u2028 \u0000');
    assert.match((await a.client.getPrompt({ name: 'greet', arguments: { who: 'you' } })).messages[0].content.text, /Hello you/);
    const done = await a.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'z' } });
    assert.deepEqual(done.completion.values, ['z-one', 'z-two']);
    assert.equal((await a.client.readResource({ uri: 'test://item/5' })).contents[0].text, 'content of test://item/5');
    await a.client.ping();
    await assert.rejects(a.client.getPrompt({ name: 'no-such-prompt' }), (error) => Number.isInteger(error.code) && error.code < 0);
  });

  across(`old on ${server}/progress and cancel`, (t) => progressAndCancel(t, server, 'old'));

  across(`old on ${server}/questions`, async (t) => {
    const peers = await openAll(t, server, labels(3), { interactive: true });
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
      assert.equal(peer.wire.questions.length, 8, 'two calls a round ask once and three times');
      assert(heardBy(peer).every((question) => question.startsWith(`${peer.label}-q`)), `${peer.label} was asked a stranger's question`);
    }
  });

  across(`old on ${server}/subscriptions and list_changed`, async (t) => {
    const [a, b] = await openAll(t, server, ['a', 'b']);
    const uri = `test://item/${server}-${over}`;
    await a.client.subscribeResource({ uri });
    await b.call('touch', { uri });
    await a.wire.until(() => updated(a, uri) === 1, 'resources/updated');
    await b.call('grow');
    await Promise.all([a, b].map((peer) => peer.wire.until(() => toolsChanged(peer) > 0, 'tools/list_changed')));
    await a.client.unsubscribeResource({ uri });
    await b.call('touch', { uri });
    await settle([a, b]);
    assert.deepEqual([updated(a, uri), updated(b, uri)], [1, 0]);
  });
}

across('old on modern-ts/several rounds and prompts that ask', async (t) => {
  const peers = await openAll(t, 'modern-ts', labels(3), { interactive: true });
  await Promise.all(peers.map(async (peer) => {
    const answers = await peer.json('ask_twice', { question: peer.label });
    assert.deepEqual(answers, [1, 2].map((n) => `${peer.label} answers ${peer.label} ${n}`));
    const prompt = await peer.client.getPrompt({ name: 'greet_asked' });
    assert.equal(prompt.messages[0].content.text, `Hello ${peer.label} answers who?`);
  }));
});

across('old on modern-ts/a question that the client did not offer to answer', async (t) => {
  const a = await t.open('modern-ts', { label: 'a' });
  await assert.rejects(a.client.callTool({ name: 'ask', arguments: { question: 'q' } }), (error) => error.code === T.ErrorCode.InternalError && /elicitation/.test(error.message));
});

across('old on modern-ts/log lines by the level that was set', async (t) => {
  const [loud, quiet] = await openAll(t, 'modern-ts', ['loud', 'quiet']);
  await loud.client.setLoggingLevel('debug');
  await quiet.client.setLoggingLevel('error');
  for (const [level, word] of [['debug', 'w1'], ['critical', 'w2']]) {
    for (const peer of [loud, quiet]) await peer.call('log', { level, text: `${word} of ${peer.label}` });
  }
  await settle([loud, quiet]);
  assert.deepEqual([logged(loud), logged(quiet)], [['w1 of loud', 'w2 of loud'], ['w2 of quiet']]);
});

across('old on modern-ts/crash: an error, then a new child with the subscription', async (t) => {
  const [a, b] = await openAll(t, 'modern-ts', ['a', 'b']);
  const uri = 'test://item/kept';
  await b.client.subscribeResource({ uri });
  const { pid } = await b.json('stats');
  const waiting = b.call('slow', { tag: 'doomed', ms: 15_000, steps: 300 }, { onprogress: () => {} });
  waiting.catch(() => {});
  await b.wire.until(() => b.wire.progress.length > 0, 'progress');
  await assert.rejects(a.call('die'));
  await assert.rejects(within(waiting, 'the call in flight gets its error'), (error) => error.code === T.ErrorCode.InternalError && error.data?.muxloop !== undefined);
  const after = await eventually(() => b.json('stats').catch(() => undefined), 'a new child answers');
  assert.notEqual(after.pid, pid);
  const before = updated(b, uri);
  await eventually(async () => {
    await a.call('touch', { uri });
    await settle([b]);
    return updated(b, uri) > before;
  }, 'updates of the new child');
});

// --- new clients on servers that know nothing but `initialize` ----------------

for (const server of ['legacy-ts', 'legacy-ts-serialize', 'legacy-py-serialize']) {
  const isTs = server.startsWith('legacy-ts');
  across(`new on ${server}/discover, lists, calls`, async (t) => {
    const a = await t.open(server, { era: 'new', label: 'a' });
    const discovered = a.client.getDiscoverResult();
    assert.deepEqual(discovered.supportedVersions, [REVISION]);
    assert.equal(discovered._meta[`${META}serverInfo`].name, isTs ? 'interop-legacy-ts' : 'interop-legacy-py');
    assert.equal(discovered.capabilities.tasks, undefined);
    assert((await a.client.listTools()).tools.some(({ name }) => name === 'ask'));
    assert.equal(await a.call('echo', { text: 'grüße \u2028 \u0000' }), 'grüße \u2028 \u0000');
    assert.match((await a.client.getPrompt({ name: 'greet', arguments: { who: 'you' } })).messages[0].content.text, /Hello you/);
    if (!isTs) {
      await assert.rejects(a.client.getPrompt({ name: 'no-such-prompt', arguments: {} }), (error) => Number.isInteger(error.code));
      return;
    }
    assert.equal((await a.client.readResource({ uri: 'test://item/5' })).contents[0].text, 'content of test://item/5');
    const done = await a.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'z' } });
    assert.deepEqual(done.completion.values, ['z-one', 'z-two']);
    const sent = { nested: [1.5, null, { k: 'v' }] };
    const answer = await a.client.callTool({ name: 'echo', arguments: { text: 'x' }, _meta: { 'example.com/sent': sent } });
    assert.deepEqual(answer._meta['example.com/seen'], sent);
  }, NEW);

  across(`new on ${server}/progress and cancel`, (t) => progressAndCancel(t, server, 'new'), NEW);
}

for (const server of ['legacy-ts-serialize', 'legacy-py-serialize']) {
  across(`new on ${server}/questions`, async (t) => {
    const peers = await openAll(t, server, labels(3), { era: 'new', interactive: true });
    await Promise.all(peers.map(async (peer) => {
      for (let round = 1; round <= 2; round += 1) {
        const mine = `${peer.label}-q${round}`;
        const [asked, sampled, rooted] = await Promise.all([peer.call('ask', { question: mine }), peer.call('sample', { prompt: mine }), peer.call('roots')]);
        assert(asked.includes(`${peer.label} answers ${mine}`), asked);
        assert(sampled.includes(`${peer.label} samples ${mine}`), sampled);
        assert(rooted.includes(`/roots/${peer.label}"`), rooted);
      }
    }));
    for (const peer of peers) {
      assert.equal(peer.asked.length, 4, peer.label);
      assert(peer.asked.every((question) => question.startsWith(`${peer.label}-q`)), `${peer.label} was asked a stranger's question`);
      assert.deepEqual(peer.wire.questions, [], 'no request of a server in this revision');
    }
  }, NEW);
}

across('new on legacy-ts-serialize/a question that the client did not offer to answer', async (t) => {
  const a = await t.open('legacy-ts-serialize', { era: 'new', label: 'a' });
  await assert.rejects(a.client.callTool({ name: 'ask', arguments: { question: 'q' } }), (error) => error.code === -32021 && error.data?.requiredCapabilities?.elicitation !== undefined);
  assert.equal(await a.call('echo', { text: 'still there' }), 'still there');
}, NEW);

across('new on legacy-ts/listen', async (t) => {
  const [a, b, c] = await openAll(t, 'legacy-ts', ['a', 'b', 'c'], { era: 'new' });
  const [one, two] = [`test://item/one-${over}`, `test://item/two-${over}`];
  const mine = await a.client.listen({ resourceSubscriptions: [one], toolsListChanged: true });
  const others = await b.client.listen({ resourceSubscriptions: [one, two] });
  assert.deepEqual(mine.honoredFilter.resourceSubscriptions, [one]);
  assert.equal(mine.honoredFilter.toolsListChanged, true);
  for (const uri of [one, two]) assert.equal(await c.call('touch', { uri }), 'updated');
  await c.call('grow');
  await a.wire.until(() => updated(a, one) === 1 && toolsChanged(a) === 1, 'what a listens for');
  await b.wire.until(() => updated(b, one) === 1 && updated(b, two) === 1, 'what b listens for');
  await settle([a, b, c]);
  assert.deepEqual([a, b, c].map((peer) => [updated(peer, one), updated(peer, two), toolsChanged(peer)]), [[1, 0, 1], [1, 1, 0], [0, 0, 0]]);
  for (const peer of [a, b]) {
    const ids = peer.wire.notifications.map(({ params }) => params?._meta?.[`${META}subscriptionId`]).filter((id) => id !== undefined);
    assert(ids.length > 0 && ids.every((id) => peer.wire.sentIds.includes(id)), `${peer.label} gets what bears its own listen's id`);
  }
  await Promise.all([mine.close(), others.close()]);
  await eventually(async () => (await c.json('stats')).subscribed.length === 0, 'nobody listens any more, the server is told');
}, NEW);

across('new on legacy-ts/log lines only where asked for', async (t) => {
  const [a, b] = await openAll(t, 'legacy-ts', ['a', 'b'], { era: 'new' });
  const level = (value) => ({ _meta: { [`${META}logLevel`]: value } });
  await a.call('log', { level: 'warning', text: 'heard' }, level('info'));
  await a.call('log', { level: 'debug', text: 'too low' }, level('info'));
  await b.call('log', { level: 'emergency', text: 'not asked' });
  await settle([a, b]);
  assert.deepEqual([logged(a), logged(b)], [['heard'], []]);
}, NEW);

across('new on everything/tools, prompts, resources, listen', async (t) => {
  const a = await t.open('everything', { era: 'new', label: 'a' });
  assert.equal(a.client.getDiscoverResult()._meta[`${META}serverInfo`].name, 'mcp-servers/everything');
  assert.equal(await a.call('echo', { message: 'hi' }), 'Echo: hi');
  const structured = await a.client.callTool({ name: 'get-structured-content', arguments: { location: 'Chicago' } });
  assert.equal(typeof structured.structuredContent.temperature, 'number');
  const embedded = await a.client.getPrompt({ name: 'resource-prompt', arguments: { resourceType: 'Text', resourceId: '3' } });
  assert.equal(embedded.messages[1].content.resource.uri, 'demo://resource/dynamic/text/3');
  assert.match((await a.client.readResource({ uri: 'demo://resource/dynamic/text/7' })).contents[0].text, /^Resource 7:/);
  const uri = `demo://resource/dynamic/text/${over === 'stdio' ? 51 : 52}`;
  const subscription = await a.client.listen({ resourceSubscriptions: [uri] });
  await a.call('toggle-subscriber-updates');
  await a.wire.until(() => updated(a, uri) > 0, 'resources/updated');
  await a.call('toggle-subscriber-updates');
  await subscription.close();
}, NEW);

across('new on everything-serialize/questions', async (t) => {
  const peers = await openAll(t, 'everything-serialize', labels(3), { era: 'new', interactive: true });
  await Promise.all(peers.map(async (peer) => {
    const asked = await peer.client.callTool({ name: 'trigger-elicitation-request', arguments: {} }, { timeout: deadlineMs });
    assert(JSON.stringify(asked.content).includes(`- Name: ${peer.label}"`), `elicitation of ${peer.label}: ${JSON.stringify(asked.content)}`);
    const sampled = await peer.call('trigger-sampling-request', { prompt: `of ${peer.label}` });
    assert.match(sampled, new RegExp(`${peer.label} samples .*of ${peer.label}`));
  }));
  for (const peer of peers) assert.equal(peer.asked.length, 2, peer.label);
}, NEW);

// --- both on one child ---------------------------------------------------------

for (const server of ['legacy-ts-serialize', 'legacy-py-serialize']) {
  across(`both on ${server}/10 clients, each its own questions`, async (t) => {
    const peers = await openMixed(t, server, 10, { interactive: true });
    await Promise.all(peers.map(async (peer) => {
      for (let round = 1; round <= 2; round += 1) {
        const mine = `${peer.label}-q${round}`;
        const [echo, slow, asked, sampled, rooted] = await Promise.all([
          peer.call('echo', { text: mine }),
          peer.call('slow', { tag: mine, ms: 30, steps: 3 }, { onprogress: () => {} }),
          peer.call('ask', { question: mine }),
          peer.call('sample', { prompt: mine }),
          peer.call('roots'),
        ]);
        assert.equal(echo, mine);
        assert.equal(slow, `done ${mine}`);
        assert(asked.includes(`${peer.label} answers ${mine}`), asked);
        assert(sampled.includes(`${peer.label} samples ${mine}`), sampled);
        assert(rooted.includes(`/roots/${peer.label}"`), rooted);
        assert.deepEqual(peer.wire.progress.filter(({ of }) => of.tag === mine).map(({ message }) => message), [mine, mine, mine]);
      }
    }));
    for (const peer of peers) {
      const heard = heardBy(peer);
      assert.equal(heard.length, 4, `${peer.label} heard ${JSON.stringify(heard)}`);
      assert(heard.every((question) => question.startsWith(`${peer.label}-q`)), `${peer.label} was asked a stranger's question`);
    }
    const pids = await Promise.all(peers.map(async (peer) => (await peer.json('stats')).pid));
    assert.equal(new Set(pids).size, 1, 'one process');
  });
}

across('both on everything-serialize/10 clients, each its own questions', async (t) => {
  const peers = await openMixed(t, 'everything-serialize', 10, { interactive: true });
  await Promise.all(peers.map(async (peer) => {
    const asked = await peer.client.callTool({ name: 'trigger-elicitation-request', arguments: {} }, ...(peer.asked ? [] : [undefined]), { timeout: deadlineMs });
    assert(JSON.stringify(asked.content).includes(`- Name: ${peer.label}"`), `elicitation of ${peer.label}: ${JSON.stringify(asked.content)}`);
    const sampled = await peer.call('trigger-sampling-request', { prompt: `of ${peer.label}.` });
    assert(sampled.includes(`${peer.label} samples`) && sampled.includes(`of ${peer.label}.`), sampled);
  }));
  for (const peer of peers) assert.equal(heardBy(peer).length, 2, peer.label);
});

across('both on modern-ts/10 clients, each its own questions', async (t) => {
  const peers = await openMixed(t, 'modern-ts', 10, { interactive: true });
  await Promise.all(peers.map(async (peer) => {
    const mine = `${peer.label}-q`;
    const [slow, asked, all] = await Promise.all([
      peer.call('slow', { tag: mine, ms: 60, steps: 3 }, { onprogress: () => {} }),
      peer.json('ask', { question: mine }),
      peer.json('ask_all', { question: mine }),
    ]);
    assert.equal(slow, `done ${mine}`);
    assert.deepEqual(asked, { action: 'accept', content: { answer: `${peer.label} answers ${mine}` }, state: `state of ${mine}` });
    assert.deepEqual(all, { answer: `${peer.label} answers ${mine}`, sample: `${peer.label} samples ${mine}`, roots: [`file:///roots/${peer.label}`] });
  }));
  for (const peer of peers) assert(heardBy(peer).every((question) => question === `${peer.label}-q`), peer.label);
  const stats = await Promise.all(peers.map((peer) => peer.json('stats')));
  assert.equal(new Set(stats.map(({ pid }) => pid)).size, 1, 'one process');
  assert.deepEqual(stats.map(({ client }) => client), peers.map(({ label }) => label), 'the server knows who calls');
});

for (const server of ['legacy-ts', 'modern-ts']) {
  across(`both on ${server}/what changes reaches both`, async (t) => {
    const [old, fresh] = [await t.open(server, { label: 'old' }), await t.open(server, { era: 'new', label: 'new' })];
    const uri = `test://item/both-${over}`;
    const subscription = await fresh.client.listen({ resourceSubscriptions: [uri], toolsListChanged: true });
    await old.client.subscribeResource({ uri });
    for (const [n, peer] of [old, fresh].entries()) {
      await peer.call('touch', { uri });
      await Promise.all([old, fresh].map((one) => one.wire.until(() => updated(one, uri) === n + 1, 'resources/updated')));
    }
    await old.call('grow');
    await Promise.all([old, fresh].map((one) => one.wire.until(() => toolsChanged(one) > 0, 'tools/list_changed')));
    await old.client.unsubscribeResource({ uri });
    await fresh.call('touch', { uri });
    await fresh.wire.until(() => updated(fresh, uri) === 3, 'the third resources/updated');
    await settle([old, fresh]);
    assert.equal(updated(old, uri), 2, 'the old client had unsubscribed');
    await subscription.close();
  });
}

await main('node-eras', { names: SERVERS, open });
