// Which suites are run, on which servers, and what is to be said about a scenario.

/** The servers: one per era, and how muxloop is to run it. `era`: the one revision that it knows. */
const LEGACY = { era: '2025-11-25', program: 'legacy.mjs', mux: { interactive: 'serialize', max_active_clients: 100 } };
const MODERN = { era: '2026-07-28', program: 'modern.mjs', mux: { max_active_clients: 100 } };

const run = (suite, version, server, other) => ({
  title: `${version} (suite ${suite})`,
  version,
  suite: `conformance-${suite}`,
  ...server,
  other,
});

export const RUNS = [
  run('0.2', '2025-03-26', LEGACY, MODERN),
  run('0.1', '2025-06-18', LEGACY, MODERN),
  run('0.1', '2025-11-25', LEGACY, MODERN),
  run('0.2', '2025-11-25', LEGACY, MODERN),
  run('0.2', '2026-07-28', MODERN, LEGACY),
];

/** By version, then scenario. */
export const REMARKS = {
  '2025-11-25': {
    'server-sse-polling':
      'Suite 0.1 says 2025-03-26 in its header, for which the SDK leaves out the priming event. A server over stdio cannot close a stream in the middle; muxloop answers with JSON, to which these checks do not apply.',
    'server-sse-multiple-streams': 'muxloop answers with JSON what needs no stream.',
  },
  '2026-07-28': {
    'server-stateless': 'Without `sampling` declared, -32021 comes from the server and is passed on with status 400; an older server is refused its question, fails, and muxloop says -32021 for it.',
  },
};

/** What a server behind muxloop misses in the suites of the other era, and why. By the server's revision, then scenario. */
export const MISSES = {
  '2025-11-25': {
    'input-required-result-basic-elicitation':
      'the suite wants its question under the name `user_name`. A 2025 server asks by a request, which has an id but no name; muxloop calls the questions `q1`, `q2`, ….',
    'input-required-result-ignore-extra-params':
      'the suite answers with the first call, before it was asked and without `requestState`. A 2025 server has not asked yet, so the call is a new one and the answers are nobody\'s.',
  },
};

/** What is missed at the merged endpoint, by scenario. */
export const MERGED_MISSES = {};
