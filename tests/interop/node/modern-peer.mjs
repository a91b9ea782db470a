// One client of the TypeScript SDK 2.x, pinned to 2026-07-28 unless `mode`
// says otherwise. Like the legacy peer it puts its label into every answer.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { deadlineMs, launch, transportOf, urlOf } from './harness.mjs';
import { Wire } from './wire.mjs';

export const REVISION = '2026-07-28';

const transports = {
  stdio: (server, dir, maxBufferSize) => new StdioClientTransport({ ...launch(server, dir), maxBufferSize }),
  http: (server, dir) => new StreamableHTTPClientTransport(urlOf(server, 'mcp', dir)),
  sse: (server, dir) => new SSEClientTransport(urlOf(server, 'sse', dir)),
};

export async function openModern(server, { label = 'client', interactive = false, mode = { pin: REVISION }, maxBufferSize = 64 << 20, dir, way = transportOf } = {}) {
  const capabilities = interactive ? { elicitation: { form: {} }, sampling: {}, roots: {} } : {};
  const client = new Client({ name: label, version: '1.0.0' }, { capabilities, versionNegotiation: { mode } });
  const transport = transports[way](server, dir, maxBufferSize);
  const wire = new Wire(transport, label);
  const peer = {
    label, client, wire, transport,
    asked: [],
    call: async (name, args = {}, { _meta, ...options } = {}) => {
      const result = await client.callTool({ name, arguments: args, ...(_meta ? { _meta } : {}) }, { timeout: deadlineMs, ...options });
      if (result.isError) throw new Error(`${name}: ${result.content[0]?.text}`);
      return result.content[0]?.text;
    },
    json: async (name, args) => JSON.parse(await peer.call(name, args)),
    close: async () => {
      if (way === 'http') await transport.terminateSession().catch(() => {});
      await client.close();
    },
  };
  if (interactive) {
    client.setRequestHandler('elicitation/create', ({ params }) => {
      peer.asked.push(params.message);
      const answer = `${label} answers ${params.message}`;
      return { action: 'accept', content: 'answer' in params.requestedSchema.properties ? { answer } : { name: label } };
    });
    client.setRequestHandler('sampling/createMessage', ({ params }) => {
      const [{ content }] = params.messages;
      const said = Array.isArray(content) ? content[0].text : content.text;
      peer.asked.push(said);
      return { model: 'interop', role: 'assistant', content: { type: 'text', text: `${label} samples ${said}` } };
    });
    client.setRequestHandler('roots/list', () => ({ roots: [{ uri: `file:///roots/${label}`, name: label }] }));
  }
  await client.connect(transport, { timeout: deadlineMs });
  return peer;
}
