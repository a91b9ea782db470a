// Driver: the dashboard at /ui in a headless browser, light and dark, wide and as on a phone.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { deadlineMs, main, scenario, tmp, within } from './harness.mjs';

const TOKEN = 'a token of the test';
const NAME = 'two~odd.names';
const SIZES = [['light', 1200, 700], ['dark', 1200, 700], ['light', 390, 800], ['dark', 390, 800]];

// Where tools/interop.sh has put the browser.
const packages = createRequire(join(process.env.INTEROP_DASHBOARD ?? '.', 'package.json'));

/** A muxloop with an HTTP front on a free port, and a directory of its own. */
class Front {
  static async start(name, http, servers) {
    const front = new Front();
    const dir = join(tmp, name);
    mkdirSync(dir);
    const demo = (server) => `[servers.${JSON.stringify(server)}]\nsocket = "${dir}/${front.count++}.sock"\n`
      + `cmd = ${JSON.stringify(process.env.MUXLOOP_BIN)}\nargs = ["demo-server"]\n`;
    writeFileSync(join(dir, 'mux.toml'), `control = "${dir}/control.sock"\nhttp = ${http}\n${servers.map(demo).join('')}`
      + `[servers.broken]\nsocket = "${dir}/broken.sock"\ncmd = "/no/such/<i>program"\n`);
    front.child = spawn(process.env.MUXLOOP_BIN, ['-c', join(dir, 'mux.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
    front.gone = new Promise((resolve) => front.child.once('exit', resolve));
    front.url = await within(new Promise((resolve, reject) => {
      let log = '';
      front.child.stderr.on('data', (data) => {
        log += data;
        const found = /listening on (http:\/\/\S+)/.exec(log);
        if (found) resolve(found[1]);
      });
      front.gone.then(() => reject(new Error(`muxloop ended: ${log}`)));
    }), 'muxloop listens');
    return front;
  }

  count = 0;

  /** Calls a tool of the first server so often. */
  async traffic(calls, token) {
    for (let id = 1; id <= calls; id += 1) {
      const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} };
      const answer = await fetch(`${this.url}/servers/first/mcp`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': '2026-07-28',
          'Mcp-Method': 'tools/call', 'Mcp-Name': 'echo', ...token && { Authorization: `Bearer ${token}` },
        },
        body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo', arguments: { text: 'x' }, _meta: meta } }),
      });
      const body = await answer.json();
      assert.equal(body.result?.content[0].text, 'x', JSON.stringify(body));
    }
  }

  async stop() {
    this.child.kill('SIGTERM');
    assert.equal(await within(this.gone, 'muxloop stops'), 0);
  }
}

/** Runs with a page of its own; `errors` gets whatever the console calls an error. */
async function withPage(run) {
  const chromium = packages('@sparticuz/chromium').default ?? packages('@sparticuz/chromium');
  const puppeteer = packages('puppeteer-core').default ?? packages('puppeteer-core');
  const browser = await puppeteer.launch({ args: [...chromium.args, '--no-sandbox'], executablePath: await chromium.executablePath(), headless: 'shell' });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(deadlineMs);
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
    await run(page, errors);
  } finally {
    await browser.close();
  }
}

const figure = (page, server, label) => page.evaluate((wanted, name) => {
  const card = [...document.querySelectorAll('article')].find((one) => one.dataset.server === wanted);
  const term = card && [...card.querySelectorAll('dt')].find((one) => one.textContent === name);
  return term?.nextElementSibling.textContent;
}, server, label);

scenario('figures change, two servers and a broken one, in each size and scheme', async () => {
  const front = await Front.start('plain', '"127.0.0.1:0"', ['first', NAME]);
  try {
    await withPage(async (page, errors) => {
      const colours = new Set();
      for (const [at, [scheme, width, height]] of SIZES.entries()) {
        await page.setViewport({ width, height });
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
        await page.goto(`${front.url}/ui`);
        await page.waitForSelector('article .ready, article .lazy');
        await page.waitForFunction(() => document.querySelectorAll('article').length === 4);
        assert.equal(await figure(page, NAME, 'requests'), '0');
        await page.waitForFunction(() => [...document.querySelectorAll('article')]
          .some((one) => one.dataset.server === 'broken' && one.querySelector('.words').textContent.includes('/no/such/<i>program')));
        assert.equal(await page.$('article i'), null, 'what servers cause to be said is text');
        const before = Number(await figure(page, 'first', 'requests'));
        await front.traffic(5);
        await page.waitForFunction((least) => {
          const card = [...document.querySelectorAll('article')].find((one) => one.dataset.server === 'first');
          const term = [...card.querySelectorAll('dt')].find((one) => one.textContent === 'requests');
          return Number(term.nextElementSibling.textContent) >= least;
        }, {}, before + 5);
        assert.equal(await page.$eval('#login', (form) => form.checkVisibility()), false, 'nobody asks for a token');
        const [needed, shown, colour] = await page.evaluate(() =>
          [document.documentElement.scrollWidth, innerWidth, getComputedStyle(document.body).backgroundColor]);
        assert(needed <= shown, `${width} px ${scheme}: the page is ${needed} px wide`);
        colours.add(`${scheme} ${colour}`);
        assert.deepEqual(errors, [], `round ${at}`);
      }
      assert.equal(colours.size, 2, `one background per scheme: ${[...colours]}`);
    });
  } finally {
    await front.stop();
  }
});

scenario('the token is asked for, refused when wrong, and kept', async () => {
  const front = await Front.start('token', `{ listen = "127.0.0.1:0", token = ${JSON.stringify(TOKEN)} }`, ['first']);
  try {
    await withPage(async (page) => {
      await page.goto(`${front.url}/ui`);
      await page.waitForFunction(() => document.querySelector('#login').checkVisibility());
      assert.equal(await page.$('article'), null, 'nothing is told without it');
      await page.type('#token', 'wrong');
      await page.click('#login button');
      await page.waitForFunction(() => /not the right one/.test(document.querySelector('#line').textContent));
      assert.equal(await page.$('article'), null);
      await page.$eval('#token', (input) => { input.value = ''; });
      await page.type('#token', TOKEN);
      await page.click('#login button');
      await page.waitForSelector('article .ready, article .lazy');
      assert.equal(await page.$eval('#login', (form) => form.checkVisibility()), false);
      await page.reload();
      await page.waitForSelector('article .ready, article .lazy');
      await front.traffic(1, TOKEN);
      await page.waitForFunction(() => [...document.querySelectorAll('article')]
        .some((one) => one.dataset.server === 'first' && /tools\/call echo/.test(one.textContent)));
    });
  } finally {
    await front.stop();
  }
});

await main('dashboard', { names: [] });
