// Watches one client's transport: keeps what arrived, in order, and notes
// every message that this client must not have got (an answer it did not ask
// for, a progress of somebody else's token). It works for the transports of
// both SDK lines because it only replaces `send` and `onmessage`.
import { EventEmitter } from 'node:events';
import { deadlineMs } from './harness.mjs';

export class Wire extends EventEmitter {
  constructor(transport, label) {
    super();
    this.setMaxListeners(0);
    this.label = label;
    this.notifications = [];
    this.questions = [];
    this.violations = [];
    /** Progress that came in, `of` being the arguments of the call whose token it bears. */
    this.progress = [];
    this.sentIds = [];
    this.open = new Map();

    const send = transport.send.bind(transport);
    transport.send = (message, ...rest) => {
      if (message.method !== undefined && message.id !== undefined) {
        this.sentIds.push(message.id);
        this.open.set(message.id, message.params ?? {});
      }
      return send(message, ...rest);
    };
    let user;
    Object.defineProperty(transport, 'onmessage', {
      configurable: true,
      get: () => (user === undefined ? undefined : (message, ...rest) => { this.#note(message); user?.(message, ...rest); }),
      set: (handler) => { user = handler; },
    });
  }

  #note(message) {
    if (message.method === undefined) {
      // A cancelled request may still be answered, at most once.
      if (!this.open.delete(message.id)) this.violations.push(`answer to ${JSON.stringify(message.id)}, which was not asked`);
    } else if (message.id !== undefined) {
      this.questions.push(message);
    } else {
      if (message.method === 'notifications/progress') this.#noteProgress(message);
      this.notifications.push(message);
    }
    this.emit('message');
  }

  // Kept here and not in `onprogress`: the SDKs drop a progress that shares a read with its answer.
  #noteProgress({ params }) {
    const request = [...this.open.values()].find((open) => open._meta?.progressToken === params.progressToken);
    if (request === undefined) this.violations.push(`progress of the unknown token ${JSON.stringify(params.progressToken)}`);
    else this.progress.push({ ...params, of: request.arguments });
  }

  /** The notifications of one method, oldest first. */
  got(method) {
    return this.notifications.filter((message) => message.method === method);
  }

  /** Waits until `condition()` holds; looks again after every message. */
  async until(condition, what) {
    if (condition()) return;
    await new Promise((resolve, reject) => {
      const done = (finish, value) => { clearTimeout(timer); this.off('message', look); finish(value); };
      const look = () => { if (condition()) done(resolve); };
      const timer = setTimeout(() => done(reject, new Error(`${this.label}: no ${what} within ${deadlineMs} ms`)), deadlineMs);
      this.on('message', look);
    });
  }
}
