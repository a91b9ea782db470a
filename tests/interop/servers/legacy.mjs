// A 2025-11-25 server on the TypeScript SDK 1.x whose behaviour can be steered
// and looked at by tools, so that a scenario can check both ends of a rule:
// what a client saw and what the one shared server saw.
import { createHash } from 'node:crypto';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import * as T from '@modelcontextprotocol/sdk/types.js';

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
const server = new Server(
  { name: 'interop-legacy-ts', version: '1.0.0' },
  {
    capabilities: {
      tools: { listChanged: true },
      prompts: {},
      resources: { subscribe: true, listChanged: true },
      completions: {},
      logging: {},
    },
    instructions: 'Steered by the interoperability run.',
  },
);

const seen = { initialized: 0, subscribe: [], unsubscribe: [], levels: [], cancelled: [], rootsChanged: 0 };
const subscribed = new Set();
let level = 'debug';
/** Names of further tools, which no other process of this program has. */
const grown = [];

const text = (value) => ({
  content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }],
});

/** `bytes` of text that depend on `seed`, so that swapped answers show. */
const bulk = (bytes, seed) => {
  const line = `${seed} "quoted" \\ back\u00e9\n`;
  return line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
};

const log = (at, data) =>
  LEVELS.indexOf(at) >= LEVELS.indexOf(level)
    ? server.notification({ method: 'notifications/message', params: { level: at, logger: 'interop', data } })
    : Promise.resolve();

const tools = {
  echo: async ({ text: value }, extra) => ({ ...text(value), _meta: { 'example.com/seen': extra._meta?.['example.com/sent'] ?? null } }),
  big: async ({ bytes, seed }) => text(bulk(bytes, seed)),
  digest: async ({ text: value }) => text(`${value.length} ${createHash('sha256').update(value).digest('hex')}`),
  slow: async ({ tag, ms, steps }, extra) => {
    extra.signal.addEventListener('abort', () => seen.cancelled.push(tag));
    for (let step = 1; step <= steps; step += 1) {
      await new Promise((resolve) => setTimeout(resolve, ms / steps));
      if (extra.signal.aborted) return text(`cancelled ${tag}`);
      if (extra._meta?.progressToken !== undefined) {
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken: extra._meta.progressToken, progress: step, total: steps, message: tag },
        });
      }
    }
    return text(`done ${tag}`);
  },
  log: async ({ level: at, text: value }) => (await log(at, value), text('logged')),
  touch: async ({ uri }) => {
    if (subscribed.has(uri)) await server.sendResourceUpdated({ uri });
    return text(subscribed.has(uri) ? 'updated' : 'nobody subscribed');
  },
  grow: async () => {
    grown.push(`grown-${grown.length + 1}-${process.pid}`);
    await server.sendToolListChanged();
    return text(grown.at(-1));
  },
  ask: async ({ question }, extra) =>
    text(await extra.sendRequest(
      {
        method: 'elicitation/create',
        params: { message: question, requestedSchema: { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] } },
      },
      T.ElicitResultSchema,
    )),
  ask_url: async ({ question, elicitationId }, extra) => {
    const answer = await extra.sendRequest(
      {
        method: 'elicitation/create',
        params: { mode: 'url', message: question, elicitationId, url: `https://example.com/${elicitationId}` },
      },
      T.ElicitResultSchema,
    );
    await server.notification({ method: 'notifications/elicitation/complete', params: { elicitationId } });
    return text(answer);
  },
  sample: async ({ prompt }, extra) =>
    text(await extra.sendRequest(
      {
        method: 'sampling/createMessage',
        params: { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 16 },
      },
      T.CreateMessageResultSchema,
    )),
  roots: async (_, extra) => text(await extra.sendRequest({ method: 'roots/list' }, T.ListRootsResultSchema)),
  stats: async () => text({ pid: process.pid, client: server.getClientVersion(), capabilities: server.getClientCapabilities(), subscribed: [...subscribed], level, ...seen }),
  die: async () => process.exit(7),
};

server.oninitialized = () => { seen.initialized += 1; };
server.setNotificationHandler(T.RootsListChangedNotificationSchema, () => { seen.rootsChanged += 1; });
server.setRequestHandler(T.ListToolsRequestSchema, () => ({
  tools: [...Object.keys(tools), ...grown]
    .map((name) => ({ name, description: `${name} of the interoperability server`, inputSchema: { type: 'object' } })),
}));
server.setRequestHandler(T.CallToolRequestSchema, (request, extra) => {
  const tool = tools[request.params.name];
  if (!tool) throw new T.McpError(T.ErrorCode.InvalidParams, `Unknown tool: ${request.params.name}`);
  return tool(request.params.arguments ?? {}, extra);
});
server.setRequestHandler(T.ListPromptsRequestSchema, () => ({
  prompts: [{ name: 'greet', arguments: [{ name: 'who', required: true }] }],
}));
server.setRequestHandler(T.GetPromptRequestSchema, ({ params }) => ({
  messages: [{ role: 'user', content: { type: 'text', text: `Hello ${params.arguments?.who}` } }],
}));
server.setRequestHandler(T.CompleteRequestSchema, ({ params }) => ({
  completion: { values: [`${params.argument.value}-one`, `${params.argument.value}-two`], total: 2, hasMore: false },
}));
server.setRequestHandler(T.ListResourcesRequestSchema, ({ params }) => {
  const page = Number(params?.cursor ?? 0);
  return {
    resources: [{ uri: `test://item/${page}`, name: `item ${page}` }],
    ...(page < 2 ? { nextCursor: String(page + 1) } : {}),
  };
});
server.setRequestHandler(T.ListResourceTemplatesRequestSchema, () => ({
  resourceTemplates: [{ uriTemplate: 'test://item/{id}', name: 'item' }],
}));
server.setRequestHandler(T.ReadResourceRequestSchema, ({ params }) => ({
  contents: [{ uri: params.uri, mimeType: 'text/plain', text: `content of ${params.uri}` }],
}));
server.setRequestHandler(T.SubscribeRequestSchema, ({ params }) => (seen.subscribe.push(params.uri), subscribed.add(params.uri), {}));
server.setRequestHandler(T.UnsubscribeRequestSchema, ({ params }) => (seen.unsubscribe.push(params.uri), subscribed.delete(params.uri), {}));
server.setRequestHandler(T.SetLevelRequestSchema, ({ params }) => (seen.levels.push(params.level), (level = params.level), {}));

process.stdin.on('end', () => process.exit(0));
await server.connect(new StdioServerTransport());
