// One client of the TypeScript SDK 1.x. It answers every question with its own
// label in the answer, so that a question to the wrong client shows twice: in
// that client's `wire.questions`, and in the asking call's result.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import * as T from '@modelcontextprotocol/sdk/types.js';
import { deadlineMs, launch, transportOf, urlOf } from './harness.mjs';
import { Wire } from './wire.mjs';

const transports = {
  stdio: (server, dir) => new StdioClientTransport(launch(server, dir)),
  http: (server, dir) => new StreamableHTTPClientTransport(urlOf(server, 'mcp', dir)),
  sse: (server, dir) => new SSEClientTransport(urlOf(server, 'sse', dir)),
  ws: (server, dir) => new WebSocketClientTransport(urlOf(server, 'ws', dir)),
};

/** `way`: how it reaches muxloop, as `--over` says if absent; `transport`: one of the caller's making. */
export async function openLegacy(server, { label = 'client', interactive = false, roots, dir, way = transportOf, transport = transports[way](server, dir) } = {}) {
  const capabilities = interactive ? { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true } } : {};
  const client = new Client({ name: label, version: '1.0.0' }, { capabilities });
  const wire = new Wire(transport, label);
  const peer = {
    label, client, wire, transport,
    roots: roots ?? [{ uri: `file:///roots/${label}`, name: label }],
    /** A tool's first text. An `isError` result is an error here. */
    call: async (name, args = {}, more = {}) => {
      const result = await client.callTool({ name, arguments: args, ...(more._meta ? { _meta: more._meta } : {}) }, undefined, { timeout: deadlineMs, ...more });
      if (result.isError) throw new Error(`${name}: ${result.content[0]?.text}`);
      return result.content[0]?.text;
    },
    json: async (name, args) => JSON.parse(await peer.call(name, args)),
    request: (method, params, schema, more) => client.request({ method, ...(params ? { params } : {}) }, schema, { timeout: deadlineMs, ...more }),
    close: async () => {
      if (transport.sessionId !== undefined) await transport.terminateSession?.().catch(() => {});
      await client.close();
    },
  };
  if (interactive) {
    client.setRequestHandler(T.ElicitRequestSchema, ({ params }) => {
      if (params.mode === 'url') return { action: 'accept' };
      const answer = `${label} answers ${params.message}`;
      return { action: 'accept', content: 'answer' in params.requestedSchema.properties ? { answer } : { name: label } };
    });
    client.setRequestHandler(T.CreateMessageRequestSchema, ({ params }) => {
      const [{ content }] = params.messages;
      const said = Array.isArray(content) ? content[0].text : content.text;
      return { model: 'interop', role: 'assistant', content: { type: 'text', text: `${label} samples ${said}` } };
    });
    client.setRequestHandler(T.ListRootsRequestSchema, () => ({ roots: peer.roots }));
  }
  await client.connect(transport, { timeout: deadlineMs });
  return peer;
}
