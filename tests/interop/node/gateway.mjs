// Driver: five real servers and two that can be steered behind one endpoint, used by clients of the TypeScript
// SDK 1.x and of 2.x at 2026-07-28. What is offered is held against what each server tells a client of its own.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { MERGED, deadlineMs, eventually, launch, launchServer, main, over, scenario, tmp, urlOf } from './harness.mjs';
import { openLegacy } from './legacy-peer.mjs';
import { openModern } from './modern-peer.mjs';

/** In the order in which their things are listed. */
const OLD = ['everything-serialize', 'memory', 'filesystem', 'legacy-py-serialize', 'demo', 'legacy-ts-serialize'];
const SERVERS = [...OLD, 'modern-ts'];
const [EVERYTHING, MEMORY, FILES, PYTHON, DEMO, STEERED, MODERN] = SERVERS;
/** The new revision has neither HTTP+SSE nor, in this SDK, WebSocket. */
const ERAS = ['sse', 'ws'].includes(over) ? ['old'] : ['old', 'new'];
/** Where clients share the endpoint, one sees what another does. */
const isShared = over !== 'serve';
const LEVEL = 'io.modelcontextprotocol/logLevel';

const open = (_, { era = 'old', ...settings } = {}) => (era === 'old' ? openLegacy : openModern)(MERGED, settings);
const of = (server, name) => `${server}__${name}`;
const here = (t, era, label, more = {}) => t.open(MERGED, { era, label, ...more });
const each = (name, run, more) => {
  for (const era of ERAS) scenario(`${era}/${name}`, (t) => run(t, era), more);
};
/** Who acts so that this client hears of it. */
const actor = async (t, era, peer) => (isShared ? here(t, era, 'actor') : peer);
const updated = (peer, uri) => peer.wire.got('notifications/resources/updated').filter(({ params }) => params.uri === uri).length;
const toolsChanged = (peer) => peer.wire.got('notifications/tools/list_changed').length;
const logged = (peer) => peer.wire.got('notifications/message').map(({ params }) => params.data);

/** All of a list, page by page. */
async function whole(list, member) {
  const all = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? {} : { cursor });
    all.push(...page[member]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return all;
}

const listsOf = async ({ client }) => ({
  tools: await whole((params) => client.listTools(params), 'tools'),
  prompts: await whole((params) => client.listPrompts(params), 'prompts'),
  resources: await whole((params) => client.listResources(params), 'resources'),
  templates: await whole((params) => client.listResourceTemplates(params), 'resourceTemplates'),
});

/** The lists that a server gives a client of its own; one that it does not have is empty. */
async function ownLists(server) {
  const transport = new StdioClientTransport(launchServer(server));
  const peer = await openLegacy(server, { label: 'own', interactive: true, transport });
  const can = peer.client.getServerCapabilities();
  const list = (has, method, member) => (has ? whole((params) => peer.client[method](params), member) : []);
  try {
    return {
      tools: await list(can.tools, 'listTools', 'tools'),
      prompts: await list(can.prompts, 'listPrompts', 'prompts'),
      resources: await list(can.resources, 'listResources', 'resources'),
      templates: await list(can.resources, 'listResourceTemplates', 'resourceTemplates'),
    };
  } finally { await peer.close(); }
}

each('what all servers list', async (t, era) => {
  const a = await here(t, era, 'a', { interactive: true });
  const capabilities = a.client.getServerCapabilities();
  for (const name of ['tools', 'prompts', 'resources', 'completions', 'logging']) assert(capabilities[name], name);
  assert.equal(capabilities.resources.subscribe, true);
  assert.match(a.client.getInstructions(), new RegExp(`## ${EVERYTHING}\\n\\n[^]+## ${STEERED}\\n\\n`));
  const merged = await listsOf(a);
  // With the demo server muxloop speaks the new revision, in which it offers other tools.
  for (const server of OLD.filter((server) => server !== DEMO)) {
    const own = await ownLists(server);
    for (const kind of ['tools', 'prompts']) {
      // Tasks are not offered: neither tools that are nothing else, nor what is said of them.
      const possible = own[kind].filter(({ execution }) => execution?.taskSupport !== 'required');
      const expected = possible.map(({ execution, ...thing }) => ({ ...thing, name: of(server, thing.name) }));
      const offered = merged[kind].filter(({ name }) => name.startsWith(of(server, '')));
      assert.equal(offered.map(({ name }) => name).join(), expected.map(({ name }) => name).join(), `${kind} of ${server}`);
      for (const [i, thing] of expected.entries()) assert.deepEqual(offered[i], thing);
    }
    // Resources keep their URIs, and so do templates.
    for (const resource of own.resources) assert.deepEqual(merged.resources.find(({ uri }) => uri === resource.uri), resource);
    for (const template of own.templates) assert(merged.templates.some(({ uriTemplate }) => uriTemplate === template.uriTemplate));
  }
  for (const name of [of(MODERN, 'ask_all'), of(DEMO, 'add')]) assert(merged.tools.some((tool) => tool.name === name), name);
  const places = merged.tools.map(({ name }) => SERVERS.findIndex((server) => name.startsWith(of(server, ''))));
  assert.deepEqual(places, [...places].sort((x, y) => x - y), 'in the order of the file');
  assert(merged.resources.some(({ uri }) => uri === `mux+${MODERN}:test://item/1`), 'the second of one URI has its server in it');
  for (const list of [merged.tools, merged.prompts]) assert.equal(new Set(list.map(({ name }) => name)).size, list.length);
  assert.equal(new Set(merged.resources.map(({ uri }) => uri)).size, merged.resources.length);
});

each('a call to each server', async (t, era) => {
  const a = await here(t, era, 'a');
  assert.equal(await a.call(of(EVERYTHING, 'echo'), { message: 'grüße \u2028 "x"' }), 'Echo: grüße \u2028 "x"');
  const structured = await a.client.callTool({ name: of(EVERYTHING, 'get-structured-content'), arguments: { location: 'Chicago' } });
  assert.equal(typeof structured.structuredContent.temperature, 'number');
  const name = `${era}-${over}`;
  await a.call(of(MEMORY, 'create_entities'), { entities: [{ name, entityType: 'test', observations: ['seen'] }] });
  assert.match(await a.call(of(MEMORY, 'open_nodes'), { names: [name] }), /seen/);
  await a.call(of(MEMORY, 'delete_entities'), { entityNames: [name] });
  assert.equal(await a.call(of(FILES, 'read_text_file'), { path: join(tmp, 'files', 'hello.txt') }), 'hello from a file\n');
  await assert.rejects(a.call(of(FILES, 'read_text_file'), { path: '/etc/hostname' }), /denied/i);
  assert.equal(await a.call(of(PYTHON, 'echo'), { text: 'grüße' }), 'grüße');
  assert.equal(await a.call(of(DEMO, 'add'), { a: 2, b: 3 }), '5');
  const sent = { nested: [1.5, null, { k: 'v' }] };
  for (const server of [STEERED, MODERN]) {
    const answer = await a.client.callTool({ name: of(server, 'echo'), arguments: { text: 'x' }, _meta: { 'example.com/sent': sent } });
    assert.deepEqual(answer._meta['example.com/seen'], sent, server);
  }
  for (const wrong of ['echo', of(MEMORY, 'echo'), of('nobody', 'echo')]) {
    await assert.rejects(a.client.callTool({ name: wrong, arguments: {} }), (error) => error.code === -32602, wrong);
  }
});

each('prompts and completion', async (t, era) => {
  const a = await here(t, era, 'a');
  const prompt = await a.client.getPrompt({ name: of(EVERYTHING, 'args-prompt'), arguments: { city: 'Oslo', state: 'NO' } });
  assert.equal(prompt.messages[0].content.text, "What's weather in Oslo, NO?");
  for (const server of [PYTHON, STEERED, MODERN]) {
    const { messages } = await a.client.getPrompt({ name: of(server, 'greet'), arguments: { who: server } });
    assert.match(messages[0].content.text, new RegExp(`Hello ${server}`));
  }
  const complete = async (ref, name, value, context) => (await a.client.complete({ ref, argument: { name, value }, ...(context ? { context } : {}) })).completion.values;
  const ofPrompt = (server, name) => ({ type: 'ref/prompt', name: of(server, name) });
  assert.deepEqual(await complete(ofPrompt(EVERYTHING, 'completable-prompt'), 'name', 'D', { arguments: { department: 'Sales' } }), ['David']);
  for (const server of [STEERED, MODERN]) assert.deepEqual(await complete(ofPrompt(server, 'greet'), 'who', 'z'), ['z-one', 'z-two']);
  const template = { type: 'ref/resource', uri: 'demo://resource/dynamic/text/{resourceId}' };
  assert.deepEqual(await complete(template, 'resourceId', '12'), ['12']);
  await assert.rejects(a.client.getPrompt({ name: 'greet', arguments: { who: 'x' } }), (error) => error.code === -32602);
});

each('resources: listed, of templates, named in results, of two servers', async (t, era) => {
  const a = await here(t, era, 'a');
  const read = async (uri) => (await a.client.readResource({ uri })).contents[0];
  for (const { uri } of await whole((params) => a.client.listResources(params), 'resources')) {
    // The demo server asks its reader for that one.
    if (uri !== 'demo://asked') assert.equal((await read(uri)).uri, uri);
  }
  assert.match((await read('demo://resource/dynamic/text/7')).text, /^Resource 7:/);
  assert.equal((await read('test://note')).text, 'a note');
  assert.equal((await read(`mux+${MODERN}:test://item/1`)).text, 'content of test://item/1');
  const links = await a.client.callTool({ name: of(EVERYTHING, 'get-resource-links'), arguments: { count: 3 } });
  for (const { uri } of links.content.filter(({ type }) => type === 'resource_link')) assert.equal((await read(uri)).uri, uri);
  await assert.rejects(read('nowhere://at/all'), (error) => error.code === -32602 || error.code === -32002);
});

each('subscriptions', async (t, era) => {
  const a = await here(t, era, 'a');
  const b = await here(t, era, 'b');
  const acts = await actor(t, era, a);
  const uris = { [STEERED]: `test://item/${era}-${over}`, [MODERN]: `mux+${MODERN}:test://item/1` };
  const own = { [STEERED]: uris[STEERED], [MODERN]: 'test://item/1' };
  let listening;
  if (era === 'old') for (const uri of Object.values(uris)) await a.client.subscribeResource({ uri });
  else {
    listening = await a.client.listen({ resourceSubscriptions: Object.values(uris) });
    assert.deepEqual([...listening.honoredFilter.resourceSubscriptions].sort(), Object.values(uris).sort());
  }
  for (const server of [STEERED, MODERN]) {
    await acts.call(of(server, 'touch'), { uri: own[server] });
    await a.wire.until(() => updated(a, uris[server]) === 1, `update of ${uris[server]}`);
  }
  await b.call(of(STEERED, 'echo'), { text: 'settle' });
  assert.equal(b.wire.got('notifications/resources/updated').length, 0, 'b listens to nothing');
  if (era === 'old') await a.client.unsubscribeResource({ uri: uris[STEERED] });
  else await listening.close();
  if (isShared) {
    await eventually(async () => !(await acts.json(of(STEERED, 'stats'))).subscribed.includes(own[STEERED]), 'the server is told');
  }
  await acts.call(of(STEERED, 'touch'), { uri: own[STEERED] });
  await a.call(of(STEERED, 'echo'), { text: 'settle' });
  assert.equal(updated(a, uris[STEERED]), 1, 'nothing after the end');
});

each('log lines by level', async (t, era) => {
  const a = await here(t, era, 'a');
  const say = (level, text) => {
    const more = era === 'old' ? {} : { _meta: { [LEVEL]: 'warning' } };
    return a.call(of(STEERED, 'log'), { level, text }, more);
  };
  if (era === 'old') await a.client.setLoggingLevel('warning');
  await say('error', 'heard');
  await say('info', 'too low');
  await a.wire.until(() => logged(a).length > 0, 'a log line');
  await a.call(of(STEERED, 'echo'), { text: 'settle' });
  assert.deepEqual(logged(a), ['heard']);
  if (era === 'new') {
    await a.call(of(MODERN, 'log'), { level: 'error', text: 'from the other' }, { _meta: { [LEVEL]: 'info' } });
    assert.deepEqual(logged(a), ['heard', 'from the other']);
    await a.call(of(MODERN, 'log'), { level: 'emergency', text: 'not asked for' });
    await a.call(of(MODERN, 'echo'), { text: 'settle' });
    assert.deepEqual(logged(a), ['heard', 'from the other']);
  }
});

each('questions of each server to the caller', async (t, era) => {
  const peers = await Promise.all(['ann', 'ben', 'cay'].map((label) => here(t, era, label, { interactive: true })));
  await Promise.all(peers.map(async (peer) => {
    const { label } = peer;
    const sampled = await peer.call(of(EVERYTHING, 'trigger-sampling-request'), { prompt: `p of ${label}`, maxTokens: 10 });
    assert.match(sampled, new RegExp(`${label} samples [^]*p of ${label}`));
    const elicited = await peer.client.callTool({ name: of(EVERYTHING, 'trigger-elicitation-request'), arguments: {} });
    assert.match(JSON.stringify(elicited.content), new RegExp(label));
    for (const server of [PYTHON, STEERED]) {
      const question = `${label} of ${server}`;
      assert((await peer.call(of(server, 'ask'), { question })).includes(`${label} answers [${server}] ${question}`));
      assert((await peer.call(of(server, 'sample'), { prompt: question })).includes(`${label} samples ${question}`));
      assert((await peer.call(of(server, 'roots'))).includes(`/roots/${label}`));
    }
    assert((await peer.call(of(DEMO, 'ask'), { question: label, via: 'elicitation' })).includes(label));
    const all = await peer.json(of(MODERN, 'ask_all'), { question: label });
    assert.deepEqual(all, { answer: `${label} answers [${MODERN}] ${label}`, sample: `${label} samples ${label}`, roots: [`file:///roots/${label}`] });
    assert.equal((await peer.json(of(MODERN, 'ask'), { question: label })).state, `state of ${label}`);
  }));
});

each('progress and cancel', async (t, era) => {
  const a = await here(t, era, 'a');
  for (const server of [STEERED, MODERN, PYTHON]) {
    const tag = `${era}-${over}-${server}-${process.hrtime.bigint()}`;
    const stop = new AbortController();
    const lost = a.call(of(server, 'slow'), { tag, ms: 10_000, steps: 200 }, { signal: stop.signal, onprogress: () => {} });
    lost.catch(() => {});
    const seen = (tag) => a.wire.progress.filter(({ of: { tag: other } }) => other === tag).map(({ progress }) => progress);
    await a.wire.until(() => seen(tag).length > 0, `progress of ${server}`);
    stop.abort('enough');
    await assert.rejects(lost);
    await eventually(async () => (await a.json(of(server, 'stats'))).cancelled.includes(tag), `${server} sees the cancel`);
    assert.equal(await a.call(of(server, 'slow'), { tag: `${tag}-kept`, ms: 60, steps: 3 }, { onprogress: () => {} }), `done ${tag}-kept`);
    assert.deepEqual(seen(`${tag}-kept`), [1, 2, 3], server);
  }
});

each('a client that leaves takes its calls with it', async (t, era) => {
  const [a, b] = [await here(t, era, 'a'), await here(t, era, 'b')];
  const tags = Object.fromEntries([STEERED, MODERN].map((server) => [server, `gone-${process.hrtime.bigint()}`]));
  for (const [server, tag] of Object.entries(tags)) {
    a.call(of(server, 'slow'), { tag, ms: 15_000, steps: 300 }, { onprogress: () => {} }).catch(() => {});
    await a.wire.until(() => a.wire.progress.some(({ of: { tag: other } }) => other === tag), 'progress');
  }
  await a.close();
  for (const [server, tag] of Object.entries(tags)) {
    await eventually(async () => (await b.json(of(server, 'stats'))).cancelled.includes(tag), `${server} sees the cancel`);
  }
}, { on: ['http', 'sse', 'ws', 'socket'] });

each('list_changed', async (t, era) => {
  const [a, b] = [await here(t, era, 'a'), await here(t, era, 'b')];
  const listening = era === 'new' ? await a.client.listen({ toolsListChanged: true }) : undefined;
  for (const server of [STEERED, MODERN]) {
    const names = async () => (await whole((params) => a.client.listTools(params), 'tools')).map(({ name }) => name);
    await names();
    const told = toolsChanged(a);
    const grown = of(server, await (isShared ? b : a).call(of(server, 'grow')));
    await a.wire.until(() => toolsChanged(a) > told, `list_changed of ${server}`);
    await eventually(async () => (await names()).includes(grown), `the new tool of ${server}`);
  }
  await listening?.close();
});

scenario('both/20 clients with colliding ids and tokens, on all servers at once', async (t) => {
  const peers = await Promise.all(Array.from({ length: 20 }, (_, i) => here(t, ERAS[i % ERAS.length], `crowd${i}`, { interactive: true })));
  await Promise.all(peers.map((peer) => Promise.all([EVERYTHING, PYTHON, DEMO, STEERED, MODERN].map(async (server) => {
    const mine = `${peer.label}/${server}`;
    const echoed = await peer.call(of(server, 'echo'), { text: mine, message: mine });
    assert.equal(echoed.replace('Echo: ', ''), mine);
    if (server === EVERYTHING || server === DEMO) return;
    const [slow, asked] = await Promise.all([
      peer.call(of(server, 'slow'), { tag: mine, ms: 60, steps: 3 }, { onprogress: () => {} }),
      peer.call(of(server, 'ask'), { question: mine }),
    ]);
    assert.equal(slow, `done ${mine}`);
    assert(asked.includes(`${peer.label} answers [${server}] ${mine}`), asked);
  }))));
  for (const { wire, label } of peers) assert(wire.progress.every(({ of: { tag } }) => tag.startsWith(`${label}/`)), label);
}, { on: ['http', 'sse', 'ws', 'socket'] });

scenario('both/large results', async (t) => {
  for (const era of ERAS) {
    const a = await here(t, era, era);
    for (const server of [STEERED, MODERN]) {
      const big = await a.call(of(server, 'big'), { bytes: 5_000_000, seed: server });
      assert.equal(big.length, 5_000_000);
      assert(big.startsWith(`${server} "quoted" \\`));
    }
  }
});

const THIRD_PARTY = join(process.env.INTEROP_THIRD_PARTY, 'node_modules');
const NODE_22 = join(THIRD_PARTY, '.bin/node');
const run = promisify(execFile);

scenario('third party/inspector --cli', async () => {
  const target = {
    http: () => [urlOf(MERGED).href, '--transport', 'http'],
    sse: () => [urlOf(MERGED, 'sse').href, '--transport', 'sse'],
    serve: () => { const { command, args } = launch(MERGED); return [command, ...args]; },
  }[over]();
  const inspect = async (...args) => JSON.parse((await run(NODE_22, [
    join(THIRD_PARTY, '.bin/mcp-inspector'), '--cli', ...target, ...args,
  ], { timeout: deadlineMs, cwd: tmp, env: { ...process.env, HOME: tmp } })).stdout);
  const { tools } = await inspect('--method', 'tools/list');
  for (const server of SERVERS) assert(tools.some(({ name }) => name === of(server, 'echo')) || [MEMORY, FILES].includes(server), server);
  const { content } = await inspect('--method', 'tools/call', '--tool-name', of(DEMO, 'add'), '--tool-arg', 'a=2', '--tool-arg', 'b=3');
  assert.equal(content[0].text, '5');
  const { resources } = await inspect('--method', 'resources/list');
  assert(resources.some(({ uri }) => uri === 'test://note'));
  const { messages } = await inspect('--method', 'prompts/get', '--prompt-name', of(PYTHON, 'greet'), '--prompt-args', 'who=you');
  assert.match(messages[0].content.text, /Hello you/);
}, { on: ['http', 'sse', 'serve'] });

await main('gateway', { names: SERVERS, open, gateway: { list_timeout_ms: 20_000 } });
