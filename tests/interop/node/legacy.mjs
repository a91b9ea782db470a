// Driver: clients of the TypeScript SDK 1.x on 2025-11-25 servers.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as T from '@modelcontextprotocol/sdk/types.js';
import { deadlineMs, direct, eventually, main, scenario, tmp, within } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';

const SERVERS = [
  'everything', 'everything-serialize', 'everything-client', 'memory', 'filesystem', 'filesystem-client',
  'legacy-ts', 'legacy-ts-serialize', 'legacy-ts-client', 'legacy-py-serialize', 'dual-ts',
];
const labels = (count, prefix = 'client') => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
/** With muxloop one client's act is seen by all; directly each client has only its own server. */
const actors = (peers) => (direct ? peers : peers.slice(0, 1));
/** After this, whatever the server said before has reached every peer: an answer overtakes nothing. */
const settle = (peers) => Promise.all(peers.map((peer) => peer.call('echo', { text: 'settle', message: 'settle' })));
const openAll = (t, server, names, more = {}) => Promise.all(names.map((label) => t.open(server, { label, ...more })));
const updates = (peer, uri) => peer.wire.got('notifications/resources/updated').filter(({ params }) => params.uri === uri).length;
const sha = (text) => createHash('sha256').update(text).digest('hex');

function bulk(bytes, seed) {
  const line = `${seed} "quoted" \\ back\u00e9\n`;
  return line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
}

// --- the reference servers as they are ---------------------------------------

scenario('everything/tools', async (t) => {
  const a = await t.open('everything', { label: 'a' });
  assert.equal(a.client.getServerVersion().name, 'mcp-servers/everything');
  assert.match(a.client.getInstructions(), /\S/);
  const { tools } = await a.client.listTools();
  for (const name of ['echo', 'get-sum', 'get-tiny-image', 'get-structured-content']) assert(tools.some((tool) => tool.name === name), name);
  assert.equal(await a.call('echo', { message: 'grüße \u2028 "x" \\ \u0000' }), 'Echo: grüße \u2028 "x" \\ \u0000');
  assert.match(await a.call('get-sum', { a: 1e15, b: 0.5 }), /1000000000000000\.5/);
  const image = await a.client.callTool({ name: 'get-tiny-image', arguments: {} });
  assert.equal(image.content.find((part) => part.type === 'image').mimeType, 'image/png');
  const structured = await a.client.callTool({ name: 'get-structured-content', arguments: { location: 'Chicago' } });
  assert.equal(typeof structured.structuredContent.temperature, 'number');
  const links = await a.client.callTool({ name: 'get-resource-links', arguments: { count: 3 } });
  assert.equal(links.content.filter((part) => part.type === 'resource_link').length, 3);
  const annotated = await a.client.callTool({ name: 'get-annotated-message', arguments: { messageType: 'error' } });
  assert.equal(annotated.content[0].annotations.priority, 1);
  await a.client.ping();
});

scenario('everything/prompts and completion', async (t) => {
  const a = await t.open('everything', { label: 'a' });
  const { prompts } = await a.client.listPrompts();
  assert(prompts.length >= 4);
  const prompt = await a.client.getPrompt({ name: 'args-prompt', arguments: { city: 'Oslo', state: 'NO' } });
  assert.equal(prompt.messages[0].content.text, "What's weather in Oslo, NO?");
  const embedded = await a.client.getPrompt({ name: 'resource-prompt', arguments: { resourceType: 'Text', resourceId: '3' } });
  assert.equal(embedded.messages[1].content.resource.uri, 'demo://resource/dynamic/text/3');
  const names = await a.client.complete({
    ref: { type: 'ref/prompt', name: 'completable-prompt' },
    argument: { name: 'name', value: 'D' }, context: { arguments: { department: 'Sales' } },
  });
  assert.deepEqual(names.completion.values, ['David']);
  const ids = await a.client.complete({
    ref: { type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' }, argument: { name: 'resourceId', value: '12' },
  });
  assert.deepEqual(ids.completion.values, ['12']);
});

scenario('everything/resources', async (t) => {
  const a = await t.open('everything', { label: 'a' });
  assert((await a.client.listResources()).resources.length > 0);
  assert((await a.client.listResourceTemplates()).resourceTemplates.length >= 2);
  const { contents: [item] } = await a.client.readResource({ uri: 'demo://resource/dynamic/text/7' });
  assert.match(item.text, /^Resource 7:/);
  await assert.rejects(a.client.readResource({ uri: 'demo://resource/none' }), (error) => error instanceof T.McpError && !/timed out/.test(error.message));
});

scenario('everything/subscriptions', async (t) => {
  const [a, b] = await openAll(t, 'everything', ['a', 'b']);
  const uri = 'demo://resource/dynamic/text/1';
  await a.client.subscribeResource({ uri });
  await a.call('toggle-subscriber-updates');
  await a.wire.until(() => updates(a, uri) > 0, 'resources/updated');
  await settle([b]);
  assert.equal(updates(b, uri), 0, 'b did not subscribe');
  await a.client.unsubscribeResource({ uri });
  await a.call('toggle-subscriber-updates');
});

scenario('everything/logging', async (t) => {
  const [a, b] = await openAll(t, 'everything', ['a', 'b']);
  await b.client.setLoggingLevel('error');
  await a.client.setLoggingLevel('debug');
  const uri = 'demo://resource/dynamic/text/99';
  await a.client.subscribeResource({ uri });
  const about = (peer) => peer.wire.got('notifications/message').filter(({ params }) => String(params.data).includes(uri));
  await a.wire.until(() => about(a).length > 0, 'log line at info');
  await settle([b]);
  assert.equal(about(b).length, 0, 'b asked for errors only');
  await a.client.unsubscribeResource({ uri });
});

scenario('everything/progress', async (t) => {
  const peers = await openAll(t, 'everything', ['a', 'b']);
  await Promise.all(peers.map(async (peer, i) => {
    const steps = 3 + i;
    const done = await peer.call('trigger-long-running-operation', { duration: 0.4, steps }, { onprogress: () => {} });
    assert.match(done, new RegExp(`Steps: ${steps}`));
    const { progress } = peer.wire;
    assert.deepEqual(progress.map((p) => p.progress), Array.from({ length: steps }, (_, n) => n + 1));
    assert(progress.every((p) => p.total === steps), `${peer.label} saw another's progress`);
  }));
});

for (const policy of ['serialize', 'client']) {
  scenario(`everything/questions ${policy}`, async (t) => {
    const peers = await openAll(t, `everything-${policy}`, labels(4), { interactive: true });
    await Promise.all(peers.map(async (peer) => {
      for (let round = 1; round <= 2; round += 1) {
        const asked = await peer.client.callTool({ name: 'trigger-elicitation-request', arguments: {} }, undefined, { timeout: deadlineMs });
        assert(JSON.stringify(asked.content).includes(`- Name: ${peer.label}"`), `elicitation of ${peer.label}: ${JSON.stringify(asked.content)}`);
        const sampled = await peer.call('trigger-sampling-request', { prompt: `of ${peer.label} ${round}` });
        assert.match(sampled, new RegExp(`${peer.label} samples .*of ${peer.label} ${round}`));
      }
    }));
    for (const peer of peers) {
      assert.equal(peer.wire.questions.filter(({ method }) => method === 'elicitation/create').length, 2, peer.label);
      const samples = peer.wire.questions.filter(({ method }) => method === 'sampling/createMessage');
      assert.equal(samples.length, 2, peer.label);
      assert(samples.every((question) => JSON.stringify(question).includes(`of ${peer.label} `)), `${peer.label} saw another's question`);
    }
  });
}

scenario('everything/roots per client', async (t) => {
  // The server keeps the roots it once got, so only a child of one's own can tell two clients apart.
  const peers = await openAll(t, 'everything-client', labels(3), { interactive: true });
  for (const peer of peers) assert.match(await peer.call('get-roots-list'), new RegExp(`\\(1 total\\)[^]*file:///roots/${peer.label}\\b`));
});

scenario('everything/tasks', async (t) => {
  const [a, b] = await openAll(t, 'everything', ['a', 'b']);
  let taskId;
  let outcome;
  const stream = a.client.experimental.tasks.callToolStream(
    { name: 'simulate-research-query', arguments: { topic: 'shared children', ambiguous: false } }, T.CallToolResultSchema,
    { task: { ttl: 60_000 }, timeout: deadlineMs },
  );
  for await (const message of stream) {
    if (message.type === 'taskCreated') {
      taskId = message.task.taskId;
      await assert.rejects(b.client.experimental.tasks.getTask(taskId), (error) => error.code === T.ErrorCode.InvalidParams);
      const listed = await b.client.experimental.tasks.listTasks().then(({ tasks }) => tasks, (error) => {
        assert.equal(error.code, T.ErrorCode.MethodNotFound);
        return [];
      });
      assert(!listed.some((task) => task.taskId === taskId), "b lists a's task");
    }
    if (message.type === 'result') outcome = message.result;
    if (message.type === 'error') throw message.error;
  }
  assert.match(JSON.stringify(outcome.content), /shared children/);
});

scenario('memory', async (t) => {
  const [a, b] = await openAll(t, 'memory', ['a', 'b']);
  await a.call('create_entities', { entities: [{ name: 'muxloop', entityType: 'program', observations: ['one thread'] }] });
  await b.call('add_observations', { observations: [{ entityName: 'muxloop', contents: ['one loop'] }] });
  await b.call('create_entities', { entities: [{ name: 'epoll', entityType: 'call', observations: [] }] });
  await a.call('create_relations', { relations: [{ from: 'muxloop', to: 'epoll', relationType: 'uses' }] });
  for (const peer of [a, b]) {
    const graph = await peer.json('read_graph');
    assert.deepEqual(graph.entities.find(({ name }) => name === 'muxloop').observations, ['one thread', 'one loop']);
    assert.equal(graph.relations.length, 1);
  }
  assert.equal((await a.json('search_nodes', { query: 'loop' })).entities.length, 1);
  await b.call('delete_entities', { entityNames: ['muxloop', 'epoll'] });
  assert.equal((await a.json('read_graph')).entities.length, 0);
});

scenario('filesystem', async (t) => {
  const [a, b] = await openAll(t, 'filesystem', ['a', 'b']);
  const root = realpathSync(join(tmp, 'files'));
  const file = join(root, 'note.txt');
  assert.equal(await b.call('read_text_file', { path: join(root, 'hello.txt') }), 'hello from a file\n');
  await a.call('write_file', { path: file, content: 'first\nsecond\n' });
  assert.match(await b.call('edit_file', { path: file, edits: [{ oldText: 'second', newText: 'third' }] }), /third/);
  assert.equal(readFileSync(file, 'utf8'), 'first\nthird\n');
  assert.match(await a.call('list_directory', { path: root }), /note\.txt/);
  assert.match(await b.call('search_files', { path: root, pattern: '**/*.txt' }), /hello\.txt/);
  await assert.rejects(a.call('read_text_file', { path: '/etc/hostname' }), /[Aa]ccess denied/);
});

scenario('filesystem/roots per client', async (t) => {
  const peers = await Promise.all(labels(3, 'root').map((label) => {
    const dir = join(realpathSync(tmp), label);
    mkdirSync(dir);
    writeFileSync(join(dir, 'mine.txt'), label);
    return t.open('filesystem-client', { label, interactive: true, roots: [{ uri: `file://${dir}`, name: label }] });
  }));
  const dirOf = (peer) => join(realpathSync(tmp), peer.label);
  await Promise.all(peers.map(async (peer, i) => {
    await eventually(async () => (await peer.call('list_allowed_directories')).includes(dirOf(peer)), `${peer.label}'s root is allowed`);
    assert.equal(await peer.call('read_text_file', { path: join(dirOf(peer), 'mine.txt') }), peer.label);
    const other = dirOf(peers[(i + 1) % peers.length]);
    await assert.rejects(peer.call('read_text_file', { path: join(other, 'mine.txt') }), /[Aa]ccess denied/);
  }));
});

// --- what only a server of our own shows -------------------------------------

scenario('shared/one child, one handshake', async (t) => {
  const peers = await openAll(t, 'legacy-ts', labels(5));
  const stats = await Promise.all(peers.map((peer) => peer.json('stats')));
  assert.equal(new Set(stats.map(({ pid }) => pid)).size, 1, 'one process');
  assert.equal(stats[0].initialized, 1, 'one notifications/initialized');
  assert.deepEqual(Object.keys(stats[0].capabilities).filter((key) => ['sampling', 'elicitation', 'roots', 'tasks'].includes(key)), []);
  assert.equal(new Set(peers.map((peer) => JSON.stringify(peer.client.getServerCapabilities()))).size, 1);
}, { mux: true });

scenario('per-client/a child each', async (t) => {
  const peers = await openAll(t, 'legacy-ts-client', labels(3), { interactive: true });
  const stats = await Promise.all(peers.map((peer) => peer.json('stats')));
  assert.equal(new Set(stats.map(({ pid }) => pid)).size, 3, 'three processes');
  for (const { capabilities } of stats) assert(capabilities.sampling && capabilities.elicitation && capabilities.roots);
});

scenario('passthrough/_meta, pages, errors', async (t) => {
  const a = await t.open('legacy-ts', { label: 'a' });
  const sent = { nested: [1.5, null, { k: 'v' }] };
  const answer = await a.client.callTool({ name: 'echo', arguments: { text: 'x' }, _meta: { 'example.com/sent': sent } });
  assert.deepEqual(answer._meta['example.com/seen'], sent);
  const uris = [];
  for (let cursor; ;) {
    const page = await a.client.listResources(cursor === undefined ? undefined : { cursor });
    uris.push(...page.resources.map(({ uri }) => uri));
    if ((cursor = page.nextCursor) === undefined) break;
  }
  assert.deepEqual(uris, ['test://item/0', 'test://item/1', 'test://item/2']);
  assert.equal((await a.client.getPrompt({ name: 'greet', arguments: { who: 'you' } })).messages[0].content.text, 'Hello you');
  const done = await a.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'z' } });
  assert.deepEqual(done.completion.values, ['z-one', 'z-two']);
  await assert.rejects(a.client.callTool({ name: 'no-such-tool', arguments: {} }), (error) => error.code === T.ErrorCode.InvalidParams && /no-such-tool/.test(error.message));
  await assert.rejects(a.request('example.com/none', {}, T.EmptyResultSchema), (error) => error.code === T.ErrorCode.MethodNotFound);
});

scenario('subscriptions/only subscribers', async (t) => {
  const [a, b, c] = await openAll(t, 'legacy-ts', ['a', 'b', 'c']);
  const [one, two] = ['test://item/one', 'test://item/two'];
  const touch = async (uri) => {
    for (const peer of actors([a, b, c])) await peer.call('touch', { uri });
    await settle([a, b, c]);
  };
  const counts = () => [a, b, c].map((peer) => [updates(peer, one), updates(peer, two)]);
  await Promise.all([a.client.subscribeResource({ uri: one }), b.client.subscribeResource({ uri: one }), b.client.subscribeResource({ uri: two })]);
  await touch(one);
  assert.deepEqual(counts(), [[1, 0], [1, 0], [0, 0]]);
  await touch(two);
  assert.deepEqual(counts(), [[1, 0], [1, 1], [0, 0]]);
  await a.client.unsubscribeResource({ uri: one });
  await touch(one);
  assert.deepEqual(counts(), [[1, 0], [2, 1], [0, 0]]);
  if (!direct) {
    const { subscribe, unsubscribe, subscribed } = await a.json('stats');
    assert.equal(subscribe.filter((uri) => uri === one).length, 1, 'one subscribe for two clients');
    assert.equal(unsubscribe.length, 0, 'one holder is left');
    assert.deepEqual([...subscribed].sort(), [one, two]);
    await b.close();
    await eventually(async () => (await a.json('stats')).subscribed.length === 0, 'the last holder left, the server is told');
  }
});

scenario('logging/level per client', async (t) => {
  const [loud, quiet, unset] = await openAll(t, 'legacy-ts', ['loud', 'quiet', 'unset']);
  await loud.client.setLoggingLevel('debug');
  await quiet.client.setLoggingLevel('error');
  const heard = (peer) => peer.wire.got('notifications/message').map(({ params }) => params.data);
  for (const [level, word] of [['debug', 'w1'], ['info', 'w2'], ['critical', 'w3']]) {
    for (const peer of actors([loud, quiet])) await peer.call('log', { level, text: word });
  }
  await settle([loud, quiet, unset]);
  assert.deepEqual(heard(loud), ['w1', 'w2', 'w3']);
  assert.deepEqual(heard(quiet), ['w3']);
  if (!direct) {
    assert.deepEqual(heard(unset), ['w2', 'w3'], 'the default level is info');
    await loud.close();
    await eventually(async () => (await quiet.json('stats')).level !== 'debug', 'the level is lowered when the loud client leaves');
    await assert.rejects(quiet.request('logging/setLevel', { level: 'shout' }, T.EmptyResultSchema), (error) => error.code === T.ErrorCode.InvalidParams);
  }
});

scenario('list_changed/everyone', async (t) => {
  const peers = await openAll(t, 'legacy-ts', labels(4));
  const before = (await peers[0].client.listTools()).tools.length;
  for (const peer of actors(peers)) await peer.call('grow');
  await Promise.all(peers.map((peer) => peer.wire.until(() => peer.wire.got('notifications/tools/list_changed').length > 0, 'tools/list_changed')));
  for (const peer of peers) assert.equal((await peer.client.listTools()).tools.length, before + 1);
});

scenario('cancel/only one\'s own', async (t) => {
  const [a, b] = await openAll(t, 'legacy-ts', ['a', 'b']);
  const stop = new AbortController();
  const [tagA, tagB] = [`a-${process.hrtime.bigint()}`, `b-${process.hrtime.bigint()}`];
  const started = (peer, tag) => peer.wire.got('notifications/progress').some(({ params }) => params.message === tag);
  const lost = a.call('slow', { tag: tagA, ms: 10_000, steps: 200 }, { signal: stop.signal, onprogress: () => {} });
  const kept = b.call('slow', { tag: tagB, ms: 1_000, steps: 20 }, { onprogress: () => {} });
  lost.catch(() => {});
  await a.wire.until(() => started(a, tagA), 'progress of the call to cancel');
  await b.wire.until(() => started(b, tagB), 'progress of the call to keep');
  stop.abort('enough');
  await assert.rejects(lost);
  await eventually(async () => (await a.json('stats')).cancelled.includes(tagA), 'the server sees the cancel');
  assert.equal(await kept, `done ${tagB}`);
  assert(!(await b.json('stats')).cancelled.includes(tagB), "b's call was cancelled too");
});

scenario('disconnect/cancels what was in flight', async (t) => {
  const [a, b] = await openAll(t, 'legacy-ts', ['a', 'b']);
  const tag = `gone-${process.hrtime.bigint()}`;
  const lost = a.call('slow', { tag, ms: 15_000, steps: 300 }, { onprogress: () => {} });
  lost.catch(() => {});
  await a.wire.until(() => a.wire.got('notifications/progress').length > 0, 'progress');
  await a.close();
  await eventually(async () => (await b.json('stats')).cancelled.includes(tag), 'the server sees the cancel');
}, { mux: true });

for (const server of ['legacy-ts-serialize', 'legacy-ts-client', 'legacy-py-serialize']) {
  scenario(`questions/${server}`, async (t) => {
    const peers = await openAll(t, server, labels(4), { interactive: true });
    await Promise.all(peers.map(async (peer) => {
      for (let round = 1; round <= 3; round += 1) {
        const mine = `${peer.label}-q${round}`;
        const [asked, sampled, rooted] = await Promise.all([
          peer.call('ask', { question: mine }), peer.call('sample', { prompt: mine }), peer.call('roots'),
        ]);
        assert(asked.includes(`${peer.label} answers ${mine}`), `asked ${mine}: ${asked}`);
        assert(sampled.includes(`${peer.label} samples ${mine}`), `sampled ${mine}: ${sampled}`);
        assert(rooted.includes(`/roots/${peer.label}`), `roots of ${peer.label}: ${rooted}`);
      }
    }));
    for (const peer of peers) {
      const foreign = peer.wire.questions.filter((question) => question.method !== 'roots/list' && !JSON.stringify(question).includes(`"${peer.label}-q`));
      assert.deepEqual(foreign, [], `${peer.label} was asked a stranger's question`);
    }
  });
}

for (const server of ['legacy-ts-serialize', 'legacy-ts-client']) {
  scenario(`questions/url ${server}`, async (t) => {
    const peers = await openAll(t, server, labels(3), { interactive: true });
    const completed = (peer) => peer.wire.got('notifications/elicitation/complete').map(({ params }) => params.elicitationId);
    await Promise.all(peers.map((peer) => peer.call('ask_url', { question: 'open it', elicitationId: `id-${peer.label}` })));
    for (const peer of peers) await peer.wire.until(() => completed(peer).length > 0, 'elicitation/complete');
    await settle(peers);
    for (const peer of peers) assert.deepEqual(completed(peer), [`id-${peer.label}`]);
  });
}

scenario('questions/off: the server is told that nobody answers', async (t) => {
  const [a, b] = await openAll(t, 'legacy-ts', ['a', 'b'], { interactive: true });
  for (const tool of ['ask', 'sample', 'roots']) await assert.rejects(a.call(tool, { question: 'q', prompt: 'q' }));
  assert.deepEqual([a, b].flatMap((peer) => peer.wire.questions), []);
}, { mux: true });

scenario('large/5 MB results, 4 clients', async (t) => {
  const peers = await openAll(t, 'legacy-ts', labels(4));
  await Promise.all(peers.map(async (peer) => {
    const [big, small] = await Promise.all([
      peer.call('big', { bytes: 5_000_000, seed: peer.label }), peer.call('echo', { text: peer.label }),
    ]);
    assert.equal(small, peer.label);
    assert.equal(big.length, 5_000_000);
    assert.equal(sha(big), sha(bulk(5_000_000, peer.label)), `${peer.label} got other bytes`);
  }));
});

scenario('large/2 MB request', async (t) => {
  const a = await t.open('legacy-ts', { label: 'a' });
  const text = bulk(2_000_000, 'up');
  assert.equal(await a.call('digest', { text }), `${text.length} ${sha(text)}`);
});

scenario('large/a request over the limit hurts only itself', async (t) => {
  const [a, b] = await openAll(t, 'memory', ['a', 'b']);
  const error = await a.call('search_nodes', { query: 'x'.repeat(1_200_000) }).then(() => assert.fail('it passed'), (reason) => reason);
  assert(!/timed out/i.test(error.message), error.message);
  assert.equal((await b.client.listTools()).tools.length > 0, true);
}, { mux: true });

scenario('crowd/20 clients, colliding ids and tokens', async (t) => {
  const peers = await openAll(t, 'legacy-ts', labels(20, 'crowd'));
  await Promise.all(peers.map(async (peer) => {
    await Promise.all(Array.from({ length: 8 }, async (_, n) => {
      const mine = `${peer.label}/${n}`;
      const [echo, slow, prompt, done, item] = await Promise.all([
        peer.call('echo', { text: mine }),
        peer.call('slow', { tag: mine, ms: 60 + 20 * n, steps: 3 }, { onprogress: () => {} }),
        peer.client.getPrompt({ name: 'greet', arguments: { who: mine } }),
        peer.client.complete({ ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: mine } }),
        peer.client.readResource({ uri: `test://item/${mine}` }),
      ]);
      assert.equal(echo, mine);
      assert.equal(slow, `done ${mine}`);
      const progress = peer.wire.progress.filter(({ of }) => of.tag === mine);
      assert.deepEqual(progress.map(({ message }) => message), [mine, mine, mine]);
      assert.equal(prompt.messages[0].content.text, `Hello ${mine}`);
      assert.deepEqual(done.completion.values, [`${mine}-one`, `${mine}-two`]);
      assert.equal(item.contents[0].text, `content of test://item/${mine}`);
    }));
  }));
  const ids = new Set(peers.map((peer) => JSON.stringify(peer.wire.sentIds)));
  assert.equal(ids.size, 1, 'every client used the same ids, so they did collide');
});

scenario('crash/others see an error, then a new child', async (t) => {
  const [a, b] = await openAll(t, 'legacy-ts', ['a', 'b']);
  const uri = 'test://item/kept';
  await b.client.subscribeResource({ uri });
  await b.client.setLoggingLevel('debug');
  const { pid } = await b.json('stats');
  const waiting = b.call('slow', { tag: 'doomed', ms: 15_000, steps: 300 }, { onprogress: () => {} });
  waiting.catch(() => {});
  await b.wire.until(() => b.wire.got('notifications/progress').length > 0, 'progress');
  await assert.rejects(a.call('die'));
  await assert.rejects(within(waiting, 'the call in flight gets its error'), (error) => error.code === T.ErrorCode.InternalError && error.data?.muxloop !== undefined);
  const after = await eventually(() => b.json('stats').catch(() => undefined), 'a new child answers');
  assert.notEqual(after.pid, pid);
  assert.deepEqual([after.subscribed, after.level], [[uri], 'debug'], 'subscription and level are replayed');
  await a.call('touch', { uri });
  await b.wire.until(() => updates(b, uri) > 0, 'resources/updated from the new child');
}, { mux: true });

scenario('dual-era server serves a 2025 client', async (t) => {
  const [a, b] = await openAll(t, 'dual-ts', ['a', 'b']);
  assert.equal(a.client.getServerVersion().name, 'interop-modern-ts');
  assert.equal(await a.call('echo', { text: 'hi' }), 'hi');
  assert.equal(await b.call('slow', { tag: 'x', ms: 50, steps: 2 }), 'done x');
});

await main('node-legacy', { names: SERVERS, open: openLegacy });
