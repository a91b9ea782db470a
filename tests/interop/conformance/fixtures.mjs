// What the conformance suite expects of the server that it judges, apart from
// the SDK that serves it: contents, schemas, prompts and resources by the
// names the suite calls them with.

/** One red pixel. */
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
/** A WAV file of no samples. */
export const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';

export const text = (value) => ({ type: 'text', text: value });
export const image = { type: 'image', data: PNG, mimeType: 'image/png' };
export const audio = { type: 'audio', data: WAV, mimeType: 'audio/wav' };
export const embedded = (uri, mimeType, value) => ({ type: 'resource', resource: { uri, mimeType, text: value } });
export const pause = (ms = 50) => new Promise((resolve) => setTimeout(resolve, ms));

/** Tools that answer at once, by name: the content of their result. */
export const PLAIN_TOOLS = {
  test_simple_text: [text('This is a simple text response for testing.')],
  test_image_content: [image],
  test_audio_content: [audio],
  test_embedded_resource: [embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')],
  test_multiple_content_types: [
    text('Multiple content types test:'),
    image,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ],
};

/** A schema with keywords that only JSON Schema 2020-12 has; a middleman must not drop them. */
export const SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'address',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contact: { type: 'string' },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }, { required: ['name'] }] }],
  if: { properties: { contact: { const: 'phone' } }, required: ['contact'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

/** A tool's argument that goes into a header too. */
export const HEADER_SCHEMA = {
  type: 'object',
  properties: { region: { type: 'string', description: 'Where', 'x-mcp-header': 'Region' } },
  required: ['region'],
};

export const USER_SCHEMA = {
  type: 'object',
  properties: {
    username: { type: 'string', description: "User's response" },
    email: { type: 'string', description: "User's email address" },
  },
  required: ['username', 'email'],
};

/** A default for each primitive type (SEP-1034). */
export const DEFAULTS_SCHEMA = {
  type: 'object',
  properties: {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
  required: [],
};

const options = (word, title) => ['First', 'Second', 'Third'].map((nth, i) => ({ const: `${word}${i + 1}`, title: `${nth} ${title}` }));
const plain = ['option1', 'option2', 'option3'];

/** Each way to offer a choice (SEP-1330). */
export const ENUMS_SCHEMA = {
  type: 'object',
  properties: {
    untitledSingle: { type: 'string', enum: plain },
    titledSingle: { type: 'string', oneOf: options('value', 'Option') },
    legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
    untitledMulti: { type: 'array', items: { type: 'string', enum: plain } },
    titledMulti: { type: 'array', items: { anyOf: options('value', 'Choice') } },
  },
  required: [],
};

export const PROMPTS = {
  test_simple_prompt: { messages: () => [text('This is a simple prompt for testing.')] },
  test_prompt_with_arguments: {
    arguments: ['arg1', 'arg2'],
    messages: ({ arg1, arg2 }) => [text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  },
  test_prompt_with_embedded_resource: {
    arguments: ['resourceUri'],
    messages: ({ resourceUri }) => [
      embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
      text('Please process the embedded resource above.'),
    ],
  },
  test_prompt_with_image: { messages: () => [image, text('Please analyze the image above.')] },
};

export const promptMessages = (name, args) =>
  PROMPTS[name].messages(args).map((content) => ({ role: 'user', content }));

export const RESOURCES = {
  'test://static-text': { name: 'static text', mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  'test://static-binary': { name: 'static binary', mimeType: 'image/png', blob: PNG },
  'test://watched-resource': { name: 'watched', mimeType: 'text/plain', text: 'Watched resource content.' },
};

export const TEMPLATE = { uriTemplate: 'test://template/{id}/data', name: 'template', mimeType: 'application/json' };

/** The contents of `uri`, or null if there is no such resource. */
export function contentsOf(uri) {
  const fixed = RESOURCES[uri];
  if (fixed) {
    const { name, ...content } = fixed;
    return [{ uri, ...content }];
  }
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (!id) return null;
  return [{ uri, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }];
}

/** What `--http` and `--stdio` on the command line say: null for stdio, else the port. */
export const httpPort = () => {
  const at = process.argv.indexOf('--http');
  return at < 0 ? null : Number(process.argv[at + 1] ?? 0);
};
