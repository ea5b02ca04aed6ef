// BullMQ behind the protocol of ../drivers/protocol.py. Arguments: the folder with node_modules, then for a worker "worker".
// fast: nothing is kept after the end. safe: locks of 5 s, results kept.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const [modules, role] = process.argv.slice(2);
const { FlowProducer, Queue, QueueEvents, Worker } = createRequire(path.join(modules, "package.json"))("bullmq");

const { BENCH_URL, BENCH_SETTING, BENCH_RESULTS, BENCH_CONCURRENCY, BENCH_TALLY } = process.env;
const NAME = "bench";
const SAFE = BENCH_SETTING === "safe";
const RESULTS = SAFE || BENCH_RESULTS === "1";
const PATIENCE = 60_000;
const PAGE = 1000;
const url = new URL(BENCH_URL);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const keep = RESULTS ? { removeOnComplete: { age: 600 } } : { removeOnComplete: true };
const NOOP = { a: 1, b: 1 };

class Unsupported extends Error {}

// The tally of ../drivers/tally.py. Node cannot map a file: it is written when the loop has a moment, at least once a turn.
class Tally {
  constructor() {
    const file = path.join(BENCH_TALLY, String(process.pid));
    this.file = fs.openSync(file, "w+");
    this.late = fs.openSync(`${file}.late`, "a");
    this.numbers = new BigInt64Array(4);
    this.pending = false;
    this.write();
  }

  write() {
    this.pending = false;
    fs.writeSync(this.file, this.numbers, 0, this.numbers.byteLength, 0);
  }

  changed() {
    if (this.pending) return;
    this.pending = true;
    setTimeout(() => this.write(), 2);
  }

  count(started) {
    this.numbers[0] += 1n;
    if (this.numbers[1] === 0n || started < this.numbers[1]) this.numbers[1] = started;
    this.numbers[2] = process.hrtime.bigint();
    this.changed();
  }

  mark() {
    this.numbers[3] = process.hrtime.bigint();
    this.changed();
  }

  lateness(due) {
    fs.writeSync(this.late, new Float64Array([Date.now() / 1000 - due]));
  }
}

function work() {
  const tally = new Tally();
  const tasks = {
    noop: async () => tally.count(process.hrtime.bigint()),
    wait: async () => {
      const started = process.hrtime.bigint();
      await new Promise((done) => setTimeout(done, 50));
      tally.count(started);
    },
    late: async ({ due }) => {
      tally.lateness(due);
      tally.count(process.hrtime.bigint());
    },
    callback: async () => tally.mark(),
  };
  const locks = SAFE ? { lockDuration: 5_000, stalledInterval: 5_000, maxStalledCount: 5 } : {};
  const worker = new Worker(NAME, async (job) => tasks[job.name](job.data), {
    connection,
    concurrency: Number(BENCH_CONCURRENCY),
    removeOnComplete: RESULTS ? { age: 600 } : { count: 0 },
    ...locks,
  });
  worker.on("error", (fault) => console.error(fault.message));
  process.on("SIGTERM", () => worker.close().finally(() => process.exit(0)));
}

async function many({ count: wanted, limit = Infinity }, page, call) {
  const started = Number(process.hrtime.bigint());
  const start = performance.now();
  let sent = 0;
  while (sent < wanted && (performance.now() - start) / 1000 < (limit ?? Infinity)) {
    const count = Math.min(page, wanted - sent);
    await call(sent, count);
    sent += count;
  }
  return { count: sent, seconds: (performance.now() - start) / 1000, started };
}

function requests() {
  const queue = new Queue(NAME, { connection, defaultJobOptions: keep });
  const flows = new FlowProducer({ connection });
  let events;
  const coroutines = (kind) => {
    if (kind === "functions") throw new Unsupported(`runs no ${kind}`);
  };
  return {
    workers: ({ processes }) => {
      const command = [process.execPath, fileURLToPath(import.meta.url), modules, "worker"];
      return { commands: Array(processes).fill(command) };
    },
    kinds: () => ({ kinds: ["coroutines"] }),
    settled: () => ({ settled: true }),
    check: () => ({}),
    send: (request) => many(request, 1, (first) => queue.add("noop", { a: first, b: 1 })),
    bulk: (request) =>
      many(request, PAGE, (first, count) =>
        queue.addBulk(Array.from({ length: count }, (_, more) => ({ name: "noop", data: { a: first + more, b: 1 } }))),
      ),
    round_trips: async ({ count }) => {
      if (!events) {
        events = new QueueEvents(NAME, { connection });
        await events.waitUntilReady();
      }
      const seconds = [];
      for (let number = 0; number < count; number += 1) {
        const answer = await many({ count: 1 }, 1, async () =>
          (await queue.add("noop", NOOP)).waitUntilFinished(events, PATIENCE),
        );
        seconds.push(answer.seconds);
      }
      return { seconds };
    },
    wait: (request) => {
      coroutines(request.kind);
      return many(request, 1, () => queue.add("wait", NOOP));
    },
    delay: ({ due, step = 0, ...request }) =>
      many(request, 1, (first) => {
        const at = due + first * step;
        return queue.add("late", { due: at }, { delay: Math.max(0, Math.round(at * 1000 - Date.now())) });
      }),
    schedule: (request) =>
      many(request, 1, (first) =>
        queue.upsertJobScheduler(`schedule-${first}`, { every: 6 * 3_600_000, offset: 1 }, { name: "noop", data: NOOP }),
      ),
    chord: (request) =>
      many(request, request.count, (_, count) => {
        const children = Array.from({ length: count }, () => ({ name: "noop", queueName: NAME, data: NOOP }));
        return flows.add({ name: "callback", queueName: NAME, data: {}, children });
      }),
  };
}

async function answer() {
  const known = requests();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: what, ...request } = JSON.parse(line);
    let reply;
    try {
      if (!known[what]) throw new Unsupported(`is not asked for ${what}`);
      reply = await known[what](request);
    } catch (fault) {
      if (!(fault instanceof Unsupported)) throw fault;
      reply = { unsupported: fault.message };
    }
    console.log(JSON.stringify(reply));
  }
  process.exit(0);
}

if (role === "worker") work();
else await answer();
