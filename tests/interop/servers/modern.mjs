// A 2026-07-28 server on the TypeScript SDK 2.x. By itself it refuses an
// `initialize`; with `--dual` it serves whichever era speaks first.
import { randomUUID } from 'node:crypto';
import { McpServer, ResourceTemplate, acceptedContent, completable, inputRequired, inputResponse } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const LEVEL_KEY = 'io.modelcontextprotocol/logLevel';
const seen = { cancelled: [], calls: {}, requestIds: [] };
let grown = 0;

const text = (value) => ({
  content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }],
});
const bulk = (bytes, seed) => {
  const line = `${seed} "quoted" \\ back\u00e9\n`;
  return line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
};
const elicitation = (message) => inputRequired.elicit({
  message,
  requestedSchema: { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] },
});

function build() {
  const server = new McpServer(
    { name: 'interop-modern-ts', version: '1.0.0' },
    {
      capabilities: { logging: {}, tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true } },
      instructions: 'Steered by the interoperability run.',
      cacheHints: { 'tools/list': { ttlMs: 0, cacheScope: 'public' } },
    },
  );
  const tool = (name, inputSchema, run) => server.registerTool(name, { description: name, inputSchema: z.object(inputSchema) }, run);

  tool('echo', { text: z.string() }, async ({ text: value }, ctx) => ({
    ...text(value), _meta: { 'example.com/seen': ctx.mcpReq._meta?.['example.com/sent'] ?? null },
  }));
  tool('structured', { n: z.number() }, async ({ n }) => ({ ...text(String(n)), structuredContent: { n, twice: 2 * n } }));
  tool('big', { bytes: z.number(), seed: z.string() }, async ({ bytes, seed }) => text(bulk(bytes, seed)));
  tool('slow', { tag: z.string(), ms: z.number(), steps: z.number() }, async ({ tag, ms, steps }, ctx) => {
    ctx.mcpReq.signal.addEventListener('abort', () => seen.cancelled.push(tag));
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (let step = 1; step <= steps; step += 1) {
      await new Promise((resolve) => setTimeout(resolve, ms / steps));
      if (ctx.mcpReq.signal.aborted) return text(`cancelled ${tag}`);
      if (progressToken !== undefined) {
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: step, total: steps, message: tag } });
      }
    }
    return text(`done ${tag}`);
  });
  tool('log', { level: z.string(), text: z.string() }, async ({ level, text: value }, ctx) => {
    await ctx.mcpReq.log(level, value, 'interop');
    return text(`asked for ${ctx.mcpReq.envelope?.[LEVEL_KEY] ?? 'none'}`);
  });
  tool('ask', { question: z.string() }, async ({ question }, ctx) => {
    const view = inputResponse(ctx.mcpReq.inputResponses, 'q');
    if (view.kind === 'missing') return inputRequired({ inputRequests: { q: elicitation(question) }, requestState: `state of ${question}` });
    return text({ action: view.action, content: view.content, state: ctx.mcpReq.requestState() });
  });
  tool('ask_twice', { question: z.string() }, async ({ question }, ctx) => {
    const state = ctx.mcpReq.requestState();
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'q')?.answer;
    if (!state) return inputRequired({ inputRequests: { q: elicitation(`${question} 1`) }, requestState: JSON.stringify([]) });
    const answers = [...JSON.parse(state), answer];
    if (answers.length < 2) return inputRequired({ inputRequests: { q: elicitation(`${question} 2`) }, requestState: JSON.stringify(answers) });
    return text(answers);
  });
  tool('ask_all', { question: z.string() }, async ({ question }, ctx) => {
    const responses = ctx.mcpReq.inputResponses;
    const views = ['e', 's', 'r'].map((key) => inputResponse(responses, key));
    if (views.some((view) => view.kind === 'missing')) {
      return inputRequired({
        inputRequests: {
          e: elicitation(question),
          s: inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens: 16 }),
          r: inputRequired.listRoots(),
        },
      });
    }
    const [e, s, r] = views;
    return text({ answer: e.content?.answer, sample: s.result.content.text, roots: r.roots.map((root) => root.uri) });
  });
  tool('touch', { uri: z.string() }, async ({ uri }) => (await server.server.sendResourceUpdated({ uri }), text('touched')));
  tool('grow', {}, async () => {
    grown += 1;
    const name = `grown-${grown}-${randomUUID().slice(0, 8)}`;
    tool(name, {}, async () => text(name));
    return text(name);
  });
  tool('die', {}, async () => process.exit(7));
  tool('stats', {}, async (_, ctx) => text({ pid: process.pid, client: ctx.mcpReq.envelope?.['io.modelcontextprotocol/clientInfo']?.name, ...seen }));

  server.registerPrompt(
    'greet',
    { description: 'greets', argsSchema: z.object({ who: completable(z.string(), (value) => [`${value}-one`, `${value}-two`]) }) },
    ({ who }) => ({ messages: [{ role: 'user', content: { type: 'text', text: `Hello ${who}` } }] }),
  );
  server.registerPrompt('greet_asked', { description: 'greets whom the user names' }, (ctx) => {
    const who = acceptedContent(ctx.mcpReq.inputResponses, 'q')?.answer;
    if (!who) return inputRequired({ inputRequests: { q: elicitation('who?') } });
    return { messages: [{ role: 'user', content: { type: 'text', text: `Hello ${who}` } }] };
  });
  server.registerResource('item', new ResourceTemplate('test://item/{id}', {
    list: async () => ({ resources: [{ uri: 'test://item/1', name: 'item 1' }] }),
  }), {}, async (uri) => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: `content of ${uri.href}` }] }));
  return server;
}

process.stdin.on('end', () => process.exit(0));
serveStdio(build, { legacy: process.argv.includes('--dual') ? 'serve' : 'reject' });
