// Which suites are run, on which server, and what is to be said about a scenario.

export const RUNS = [
  {
    title: '2025-03-26 (suite 0.2)',
    version: '2025-03-26',
    suite: 'conformance-0.2',
    args: ['--suite', 'all', '--spec-version', '2025-03-26'],
    program: 'legacy.mjs',
    mux: { interactive: 'serialize', max_active_clients: 100 },
  },
  {
    title: '2025-06-18 (suite 0.1)',
    version: '2025-06-18',
    suite: 'conformance-0.1',
    args: ['--suite', 'all', '--spec-version', '2025-06-18'],
    program: 'legacy.mjs',
    mux: { interactive: 'serialize', max_active_clients: 100 },
  },
  {
    title: '2025-11-25 (suite 0.1)',
    version: '2025-11-25',
    suite: 'conformance-0.1',
    args: ['--suite', 'all', '--spec-version', '2025-11-25'],
    program: 'legacy.mjs',
    mux: { interactive: 'serialize', max_active_clients: 100 },
  },
  {
    title: '2025-11-25 (suite 0.2)',
    version: '2025-11-25',
    suite: 'conformance-0.2',
    args: ['--suite', 'all', '--spec-version', '2025-11-25'],
    program: 'legacy.mjs',
    mux: { interactive: 'serialize', max_active_clients: 100 },
  },
  {
    title: '2026-07-28 (suite 0.2)',
    version: '2026-07-28',
    suite: 'conformance-0.2',
    args: ['--suite', 'all', '--spec-version', '2026-07-28'],
    program: 'modern.mjs',
    mux: { era: 'modern', max_active_clients: 100 },
  },
];

/** By version (or `all`), then scenario. */
export const REMARKS = {
  '2025-11-25': {
    'server-sse-polling':
      'Suite 0.1 says 2025-03-26 in its header, for which the SDK leaves out the priming event. A server over stdio cannot close a stream in the middle; muxloop answers with JSON, to which these checks do not apply.',
    'server-sse-multiple-streams': 'muxloop answers with JSON what needs no stream.',
  },
  '2026-07-28': {
    'http-custom-header-server-validation':
      'muxloop checks `Mcp-Param-*` for tools that a client has listed over HTTP; it learns the annotations from that list.',
    'server-stateless': 'Without `sampling` declared, -32021 comes from the server and is passed on with status 400.',
  },
};
