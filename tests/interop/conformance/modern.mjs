// The server that the conformance suite judges at 2026-07-28, on the TypeScript
// SDK 2.x: `--http PORT` serves it over the SDK's own HTTP handler (what
// "direct" means in docs/conformance.md), else over stdio (what muxloop stands
// in front of). With `--http` its first line on stdout is the URL.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import {
  McpServer, ResourceNotFoundError, ResourceTemplate,
  acceptedContent, completable, createMcpHandler, createRequestStateCodec, fromJsonSchema,
  hostHeaderValidationResponse, inputRequired, inputResponse, localhostAllowedHostnames,
  localhostAllowedOrigins, originValidationResponse,
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';
import * as F from './fixtures.mjs';

const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const states = createRequestStateCodec({ key: randomBytes(32) });
const answer = (value) => ({ content: [F.text(value)] });
const declared = (ctx) => ctx.mcpReq.envelope?.[CAPABILITIES] ?? {};

const ask = (message, property, type = 'string') => inputRequired.elicit({
  message,
  requestedSchema: { type: 'object', properties: { [property]: { type } }, required: [property] },
});
const sample = (question, maxTokens) => inputRequired.createMessage({
  messages: [{ role: 'user', content: F.text(question) }], maxTokens,
});
const given = (ctx, key) => inputResponse(ctx.mcpReq.inputResponses, key);
const missing = (ctx, ...keys) => keys.some((key) => given(ctx, key).kind === 'missing');

/** Tools that ask the client before they answer (protocol.md §1.2, item 6). */
const asking = {
  test_input_required_result_elicitation: async (ctx) => {
    const name = acceptedContent(ctx.mcpReq.inputResponses, 'user_name')?.name;
    if (typeof name !== 'string') return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
    return answer(`Hello, ${name}!`);
  },
  test_input_required_result_sampling: async (ctx) => {
    if (missing(ctx, 'capital_question')) {
      return inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?', 100) } });
    }
    return answer(JSON.stringify(given(ctx, 'capital_question').result.content));
  },
  test_input_required_result_list_roots: async (ctx) => {
    if (missing(ctx, 'client_roots')) return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    return answer(`Roots: ${given(ctx, 'client_roots').roots.map((root) => root.uri).join(' ')}`);
  },
  test_input_required_result_request_state: async (ctx) => {
    if (missing(ctx, 'confirm')) {
      return inputRequired({
        inputRequests: { confirm: ask('Please confirm', 'ok', 'boolean') },
        requestState: await states.mint({ step: 'confirm' }, ctx),
      });
    }
    return answer(ctx.mcpReq.requestState()?.step === 'confirm' ? 'state-ok' : 'no state');
  },
  test_input_required_result_multiple_inputs: async (ctx) => {
    if (missing(ctx, 'user_name', 'greeting', 'client_roots')) {
      return inputRequired({
        inputRequests: {
          user_name: ask('What is your name?', 'name'),
          greeting: sample('Generate a greeting', 50),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await states.mint({ step: 'all' }, ctx),
      });
    }
    return answer('All three were answered.');
  },
  test_input_required_result_multi_round: async (ctx) => {
    const { round = 0, name } = ctx.mcpReq.requestState() ?? {};
    const first = acceptedContent(ctx.mcpReq.inputResponses, 'step1')?.name;
    const second = acceptedContent(ctx.mcpReq.inputResponses, 'step2')?.color;
    if (round === 1 && first !== undefined) {
      return inputRequired({
        inputRequests: { step2: ask('Step 2: What is your favorite color?', 'color') },
        requestState: await states.mint({ round: 2, name: first }, ctx),
      });
    }
    if (round === 2 && second !== undefined) return answer(`${name} likes ${second}.`);
    return inputRequired({
      inputRequests: { step1: ask('Step 1: What is your name?', 'name') },
      requestState: await states.mint({ round: 1 }, ctx),
    });
  },
  test_input_required_result_tampered_state: async (ctx) => {
    if (ctx.mcpReq.requestState() === undefined) {
      return inputRequired({
        inputRequests: { confirm: ask('Please confirm', 'ok', 'boolean') },
        requestState: await states.mint({ step: 'sealed' }, ctx),
      });
    }
    return answer('The state is as it was.');
  },
  test_input_required_result_capabilities: async (ctx) => {
    const { elicitation, sampling, roots } = declared(ctx);
    const inputRequests = {
      ...(elicitation && { user_name: ask('What is your name?', 'name') }),
      ...(sampling && { greeting: sample('Generate a greeting', 50) }),
      ...(roots && { client_roots: inputRequired.listRoots() }),
    };
    const keys = Object.keys(inputRequests);
    if (keys.length > 0 && missing(ctx, ...keys)) return inputRequired({ inputRequests });
    return answer(`Asked for ${keys.length} things.`);
  },
  test_streaming_elicitation: async (ctx) => {
    if (missing(ctx, 'user_name')) return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
    return answer('Answered.');
  },
};

/** Tools of the suites of 2025 that show a form: its message unless the call brings one, and its schema. */
const FORMS = {
  test_elicitation: ['Please tell', F.USER_SCHEMA],
  test_elicitation_sep1034_defaults: ['Please confirm the defaults', F.DEFAULTS_SCHEMA],
  test_elicitation_sep1330_enums: ['Please choose', F.ENUMS_SCHEMA],
};

/** What the triggers have changed so far, which shows in their descriptions. */
const changes = { tools: 0, prompts: 0 };
const descriptionOf = (name, kind) => `${name} of the conformance server, change ${changes[kind]}`;
/** Announces that a list has changed: over stdio the tool or prompt that did, over HTTP the handler. */
let announce = null;

function addTools(server, prompts) {
  const tool = (name, inputSchema, run) =>
    server.registerTool(name, { description: descriptionOf(name, 'tools'), inputSchema }, run);
  const nothing = z.object({});
  for (const [name, content] of Object.entries(F.PLAIN_TOOLS)) tool(name, nothing, async () => ({ content }));
  for (const [name, run] of Object.entries(asking)) tool(name, nothing, async (_, ctx) => run(ctx));
  tool('test_error_handling', nothing, async () => ({
    isError: true, ...answer('This tool intentionally returns an error for testing'),
  }));
  tool('test_tool_with_progress', nothing, async (_, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progress > 0) await F.pause();
      if (progressToken === undefined) continue;
      await ctx.mcpReq.notify({
        method: 'notifications/progress',
        params: { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` },
      });
    }
    return answer(`Progress was reported for ${JSON.stringify(progressToken)}.`);
  });
  tool('test_logging_tool', nothing, async (_, ctx) => {
    await ctx.mcpReq.log('info', 'Logged by a tool', 'conformance');
    return answer('Logged, if you asked for it.');
  });
  for (const [name, [message, requestedSchema]] of Object.entries(FORMS)) {
    tool(name, z.object({ message: z.string().optional() }), async (args, ctx) => {
      const view = given(ctx, 'form');
      if (view.kind === 'missing') {
        return inputRequired({ inputRequests: { form: inputRequired.elicit({ message: args.message ?? message, requestedSchema }) } });
      }
      return answer(`User response: action=${view.action}, content=${JSON.stringify(view.content ?? {})}`);
    });
  }
  tool('test_sampling', z.object({ prompt: z.string() }), async ({ prompt }, ctx) => {
    if (missing(ctx, 'sample')) return inputRequired({ inputRequests: { sample: sample(prompt, 100) } });
    return answer(`LLM response: ${given(ctx, 'sample').result.content.text}`);
  });
  tool('test_tool_with_logging', nothing, async (_, ctx) => {
    for (const [at, line] of ['Tool execution started', 'Tool processing data', 'Tool execution completed'].entries()) {
      if (at > 0) await F.pause();
      await ctx.mcpReq.log('info', line, 'conformance');
    }
    return answer('Three log messages were sent.');
  });
  tool('test_reconnection', nothing, async () => {
    await F.pause(150);
    return answer('The answer of a tool that takes its time.');
  });
  tool('test_missing_capability', nothing, async (_, ctx) => {
    // The SDK answers -32021 where the client has not declared what is asked for.
    if (missing(ctx, 'q')) return inputRequired({ inputRequests: { q: sample('Can you?', 10) } });
    return answer('You have what it takes.');
  });
  const trigger = (name, kind, changed) => tool(name, nothing, async () => {
    changes[kind] += 1;
    await announce[kind](changed());
    return answer('Announced.');
  });
  const toolTrigger = trigger('test_trigger_tool_change', 'tools', () => toolTrigger);
  trigger('test_trigger_prompt_change', 'prompts', () => prompts[0]);
  tool('json_schema_2020_12_tool', fromJsonSchema(F.SCHEMA_2020_12), async (args) => answer(JSON.stringify(args)));
  tool('test_custom_headers', fromJsonSchema(F.HEADER_SCHEMA), async ({ region }) => answer(`In ${region}.`));
}

function addPrompts(server) {
  const all = [];
  for (const [name, { arguments: names = [] }] of Object.entries(F.PROMPTS)) {
    const complete = (value) => ['paris', 'park', 'party', 'test'].filter((word) => word.startsWith(value));
    const argsSchema = z.object(Object.fromEntries(names.map((argument) => [argument, completable(z.string(), complete)])));
    const run = (args) => ({ messages: F.promptMessages(name, args) });
    const description = descriptionOf(name, 'prompts');
    all.push(names.length
      ? server.registerPrompt(name, { description, argsSchema }, run)
      : server.registerPrompt(name, { description }, () => run({})));
  }
  server.registerPrompt('test_input_required_result_prompt', { description: 'asks before it answers' }, (ctx) => {
    const context = acceptedContent(ctx.mcpReq.inputResponses, 'user_context')?.context;
    if (context === undefined) {
      return inputRequired({ inputRequests: { user_context: ask('What context should the prompt use?', 'context') } });
    }
    return { messages: [{ role: 'user', content: F.text(`In the context of ${context}`) }] };
  });
  return all;
}

function build() {
  const server = new McpServer(
    { name: 'conformance-modern', version: '1.0.0' },
    {
      capabilities: { logging: {}, completions: {}, tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true } },
      requestState: { verify: states.verify },
    },
  );
  addTools(server, addPrompts(server));
  for (const [uri, { name, mimeType }] of Object.entries(F.RESOURCES)) {
    server.registerResource(name, uri, { mimeType, description: name }, async () => ({ contents: F.contentsOf(uri) }));
  }
  const { uriTemplate, name, mimeType } = F.TEMPLATE;
  server.registerResource(name, new ResourceTemplate(uriTemplate, { list: undefined }), { mimeType }, async (uri) => {
    const contents = F.contentsOf(uri.href);
    if (!contents) throw new ResourceNotFoundError(uri.href);
    return { contents };
  });
  return server;
}

function headersOf(request) {
  const headers = new Headers();
  for (let at = 0; at < request.rawHeaders.length; at += 2) headers.append(request.rawHeaders[at], request.rawHeaders[at + 1]);
  return headers;
}

function serveHttp(port) {
  const handler = createMcpHandler(build, { legacy: 'reject' });
  announce = { tools: () => handler.notify.toolsChanged(), prompts: () => handler.notify.promptsChanged() };
  const http = createServer(async (incoming, outgoing) => {
    const gone = new AbortController();
    outgoing.on('close', () => gone.abort());
    const hasBody = incoming.method === 'POST';
    const request = new Request(new URL(incoming.url, `http://127.0.0.1:${http.address().port}`), {
      method: incoming.method,
      headers: headersOf(incoming),
      signal: gone.signal,
      ...(hasBody && { body: Readable.toWeb(incoming), duplex: 'half' }),
    });
    const response =
      hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
      originValidationResponse(request, localhostAllowedOrigins()) ??
      (await handler.fetch(request));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    if (!response.body) return outgoing.end();
    outgoing.flushHeaders();
    return Readable.fromWeb(response.body).on('error', () => outgoing.destroy()).pipe(outgoing);
  });
  http.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}/mcp`));
}

const port = F.httpPort();
if (port === null) {
  const update = (kind) => (changed) => changed.update({ description: descriptionOf('it', kind) });
  announce = { tools: update('tools'), prompts: update('prompts') };
  process.stdin.on('end', () => process.exit(0));
  serveStdio(build, { legacy: 'reject' });
} else serveHttp(port);
