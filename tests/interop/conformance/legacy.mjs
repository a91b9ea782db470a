// The server that the conformance suite judges up to 2025-11-25, on the
// TypeScript SDK 1.x: `--http PORT` serves it over the SDK's own Streamable
// HTTP transport (what "direct" means in docs/conformance.md), else over stdio
// (what muxloop stands in front of). With `--http` its first line on stdout is
// the URL.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as T from '@modelcontextprotocol/sdk/types.js';
import * as F from './fixtures.mjs';

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
const answer = (value) => ({ content: [F.text(value)] });
const object = (...required) => ({
  type: 'object',
  properties: Object.fromEntries(required.map((name) => [name, { type: 'string' }])),
  required,
});

/** The suite of 2026-07-28 leaves calls behind in the middle of a question; they end after so long. */
const patience = (timeout = 2_000) => ({ timeout });
const elicit = (extra, message, requestedSchema, ms) =>
  extra.sendRequest({ method: 'elicitation/create', params: { message, requestedSchema } }, T.ElicitResultSchema, patience(ms));
const ask = async (extra, message, requestedSchema) => {
  const { action, content } = await elicit(extra, message, requestedSchema);
  return `action=${action}, content=${JSON.stringify(content ?? {})}`;
};
const sample = async (extra, question, maxTokens = 100) => {
  const messages = [{ role: 'user', content: F.text(question) }];
  return extra.sendRequest({ method: 'sampling/createMessage', params: { messages, maxTokens } }, T.CreateMessageResultSchema, patience());
};
const roots = (extra) => extra.sendRequest({ method: 'roots/list' }, T.ListRootsResultSchema, patience());

/** Tools that do more than answer. `log` sends at a level, if the client wants that level. */
const tools = {
  test_tool_with_logging: {
    run: async (_, extra, log) => {
      await log('info', 'Tool execution started');
      await F.pause();
      await log('info', 'Tool processing data');
      await F.pause();
      await log('info', 'Tool execution completed');
      return answer('Three log messages were sent.');
    },
  },
  test_tool_with_progress: {
    run: async (_, extra) => {
      const progressToken = extra._meta?.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progress > 0) await F.pause();
        if (progressToken === undefined) continue;
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` },
        });
      }
      return answer(`Progress was reported for ${JSON.stringify(progressToken)}.`);
    },
  },
  test_error_handling: {
    run: async () => ({ isError: true, ...answer('This tool intentionally returns an error for testing') }),
  },
  test_sampling: {
    inputSchema: object('prompt'),
    run: async ({ prompt }, extra) => {
      const result = await sample(extra, prompt);
      return answer(`LLM response: ${result.content.text ?? JSON.stringify(result.content)}`);
    },
  },
  test_elicitation: {
    inputSchema: object('message'),
    run: async ({ message }, extra) => answer(`User response: ${await ask(extra, message, F.USER_SCHEMA)}`),
  },
  test_elicitation_sep1034_defaults: {
    run: async (_, extra) => answer(`Elicitation completed: ${await ask(extra, 'Please confirm the defaults', F.DEFAULTS_SCHEMA)}`),
  },
  test_elicitation_sep1330_enums: {
    run: async (_, extra) => answer(`Elicitation completed: ${await ask(extra, 'Please choose', F.ENUMS_SCHEMA)}`),
  },
  // Ends the response's stream in the middle of the call, where the transport
  // can do that; over stdio there is no stream to end.
  test_reconnection: {
    run: async (_, extra) => {
      await F.pause();
      extra.closeSSEStream?.();
      await F.pause(100);
      return answer('The answer that came after the stream was closed.');
    },
  },
  json_schema_2020_12_tool: { inputSchema: F.SCHEMA_2020_12, run: async (args) => answer(JSON.stringify(args)) },
};

// What the suite of 2026-07-28 calls, as a server of this era does it: it asks while it works on a call.
const only = (name, type = 'string') => ({ type: 'object', properties: { [name]: { type } }, required: [name] });
const confirmed = async (_, extra) => answer(`state-ok, ${await ask(extra, 'Please confirm', only('ok', 'boolean'))}`);
const later = {
  test_input_required_result_elicitation: async (_, extra) => {
    const { content } = await elicit(extra, 'What is your name?', only('name'));
    return answer(`Hello, ${content?.name}!`);
  },
  test_input_required_result_sampling: async (_, extra) =>
    answer(JSON.stringify((await sample(extra, 'What is the capital of France?')).content)),
  test_input_required_result_list_roots: async (_, extra) =>
    answer(`Roots: ${(await roots(extra)).roots.map(({ uri }) => uri).join(' ')}`),
  test_input_required_result_request_state: confirmed,
  test_input_required_result_tampered_state: confirmed,
  test_input_required_result_multiple_inputs: async (_, extra) => {
    await Promise.all([elicit(extra, 'What is your name?', only('name')), sample(extra, 'Generate a greeting', 50), roots(extra)]);
    return answer('All three were answered.');
  },
  test_input_required_result_multi_round: async (_, extra) => {
    const first = await elicit(extra, 'Step 1: What is your name?', only('name'));
    const second = await elicit(extra, 'Step 2: What is your favorite color?', only('color'));
    return answer(`${first.content?.name} likes ${second.content?.color}.`);
  },
  // Whom it asks it cannot tell, so it asks for all and goes on with what it gets.
  test_input_required_result_capabilities: async (_, extra) => {
    const asked = [elicit(extra, 'What is your name?', only('name')), sample(extra, 'Generate a greeting', 50), roots(extra)];
    const outcomes = await Promise.allSettled(asked);
    return answer(`${outcomes.filter(({ status }) => status === 'fulfilled').length} of 3 were answered.`);
  },
  // The suite waits half a second for the call after this one.
  test_streaming_elicitation: async (_, extra) => {
    const { action } = await elicit(extra, 'Who are you?', only('name'), 150);
    return answer(`It was a ${action}.`);
  },
  test_missing_capability: async (_, extra) => answer((await sample(extra, 'Can you?', 10)).content.text),
  test_logging_tool: async (_, extra, log) => {
    await log('info', 'Logged by a tool');
    return answer('Logged.');
  },
  test_trigger_tool_change: async (_, extra) => {
    changes.tools += 1;
    await extra.sendNotification({ method: 'notifications/tools/list_changed' });
    return answer('Announced.');
  },
  test_trigger_prompt_change: async (_, extra) => {
    changes.prompts += 1;
    await extra.sendNotification({ method: 'notifications/prompts/list_changed' });
    return answer('Announced.');
  },
};
for (const [name, run] of Object.entries(later)) tools[name] = { run };
tools.test_custom_headers = { inputSchema: F.HEADER_SCHEMA, run: async ({ region }) => answer(`In ${region}.`) };
for (const [name, content] of Object.entries(F.PLAIN_TOOLS)) tools[name] = { run: async () => ({ content }) };

/** What the triggers have changed so far. */
const changes = { tools: 0, prompts: 0 };
const ASKING_PROMPT = 'test_input_required_result_prompt';

const failure = (code, message, data) => Object.assign(new Error(message), { code, ...(data && { data }) });

/** A server for one session (or, over stdio, for the one client). */
function build() {
  const server = new Server(
    { name: 'conformance-legacy', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        completions: {},
        logging: {},
      },
    },
  );
  const subscribed = new Set();
  let level = 'debug';

  server.setRequestHandler(T.SetLevelRequestSchema, ({ params }) => {
    level = params.level;
    return {};
  });
  server.setRequestHandler(T.ListToolsRequestSchema, () => ({
    tools: Object.entries(tools).map(([name, { inputSchema }]) => ({
      name,
      description: `${name} of the conformance server, change ${changes.tools}`,
      inputSchema: inputSchema ?? object(),
    })),
  }));
  server.setRequestHandler(T.CallToolRequestSchema, ({ params }, extra) => {
    const tool = tools[params.name];
    if (!tool) throw failure(T.ErrorCode.InvalidParams, `Unknown tool: ${params.name}`);
    const log = (at, data) =>
      LEVELS.indexOf(at) >= LEVELS.indexOf(level)
        ? extra.sendNotification({ method: 'notifications/message', params: { level: at, logger: 'conformance', data } })
        : Promise.resolve();
    return tool.run(params.arguments ?? {}, extra, log);
  });

  server.setRequestHandler(T.ListPromptsRequestSchema, () => ({
    prompts: Object.entries({ ...F.PROMPTS, [ASKING_PROMPT]: {} }).map(([name, { arguments: names = [] }]) => ({
      name,
      description: `${name} of the conformance server, change ${changes.prompts}`,
      arguments: names.map((argument) => ({ name: argument, description: argument, required: true })),
    })),
  }));
  server.setRequestHandler(T.GetPromptRequestSchema, async ({ params }, extra) => {
    if (params.name === ASKING_PROMPT) {
      const { content } = await elicit(extra, 'What context should the prompt use?', only('context'));
      return { messages: [{ role: 'user', content: F.text(`In the context of ${content?.context}`) }] };
    }
    if (!F.PROMPTS[params.name]) throw failure(T.ErrorCode.InvalidParams, `Unknown prompt: ${params.name}`);
    return { messages: F.promptMessages(params.name, params.arguments ?? {}) };
  });
  server.setRequestHandler(T.CompleteRequestSchema, ({ params }) => {
    const values = ['paris', 'park', 'party', 'test'].filter((word) => word.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });

  server.setRequestHandler(T.ListResourcesRequestSchema, () => ({
    resources: Object.entries(F.RESOURCES).map(([uri, { name, mimeType }]) => ({ uri, name, mimeType, description: name })),
  }));
  server.setRequestHandler(T.ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: [F.TEMPLATE] }));
  server.setRequestHandler(T.ReadResourceRequestSchema, ({ params }) => {
    const contents = F.contentsOf(params.uri);
    if (!contents) throw failure(-32002, `Resource not found: ${params.uri}`, { uri: params.uri });
    return { contents };
  });
  server.setRequestHandler(T.SubscribeRequestSchema, ({ params }) => (subscribed.add(params.uri), {}));
  server.setRequestHandler(T.UnsubscribeRequestSchema, ({ params }) => (subscribed.delete(params.uri), {}));
  return server;
}

/** Keeps every event of every stream, for as long as the process lives. */
class Events {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return `${stream}_${this.#events.length}`;
  }

  async getStreamIdForEventId(id) {
    return id.slice(0, id.lastIndexOf('_'));
  }

  async replayEventsAfter(id, { send }) {
    const stream = await this.getStreamIdForEventId(id);
    for (let at = Number(id.slice(stream.length + 1)); at < this.#events.length; at += 1) {
      const event = this.#events[at];
      if (event.stream === stream) await send(`${stream}_${at + 1}`, event.message);
    }
    return stream;
  }
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
}

/** Serves each session by a server of its own. */
function serveHttp(port) {
  const sessions = new Map();
  const http = createServer(async (request, response) => {
    const message = await body(request).catch(() => undefined);
    const id = request.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (!transport && id !== undefined) {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}');
      return;
    }
    if (!transport) {
      const here = `localhost:${http.address().port}`;
      const hosts = [here, `127.0.0.1:${http.address().port}`];
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: new Events(),
        retryInterval: 500,
        enableDnsRebindingProtection: true,
        allowedHosts: hosts,
        allowedOrigins: hosts.map((host) => `http://${host}`),
        onsessioninitialized: (session) => void sessions.set(session, transport),
        onsessionclosed: (session) => void sessions.delete(session),
      });
      await build().connect(transport);
    }
    await transport.handleRequest(request, response, message);
  });
  http.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}/mcp`));
}

const port = F.httpPort();
if (port === null) await build().connect(new StdioServerTransport());
else serveHttp(port);
