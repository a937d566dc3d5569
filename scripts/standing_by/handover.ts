/**
 * Makes a handover: an owner goes in some way, and another instance follows.
 */
import { connectSession } from "../../src/database/driver.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import type { Session } from "../../src/database/session.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { startProxy } from "../../tests/support/network/proxy.ts";
import { Instance } from "./instance.ts";
import { type InstancePlan, streamOf } from "./instance_process.ts";

/** In which way the owner goes. */
export type Way = "close" | "kill" | "freeze" | "network";

/** All ways. */
export const ways: readonly Way[] = ["close", "kill", "freeze", "network"];

/** The result of a handover. */
export interface Handover {
  way: Way;
  /** From the fault to the first acknowledged write of the successor. */
  tookMs: number;
  /** How many events of the former owner are stored. */
  stored: number;
  /** What is not as it should be. */
  faults: string[];
}

/** Where a handover takes place. */
export interface HandoverGround {
  url: string;
  schema: string;
}

/** Makes one handover, and removes its schema. */
export async function handOver(
  { url, schema }: HandoverGround,
  way: Way,
): Promise<Handover> {
  await using proxy = await startProxy(url);
  await using session = await openSession(url);
  const plan = (name: string): InstancePlan => ({
    url: name === "aa" ? proxy.url : url,
    schema,
    whenOwned: "wait",
    startupDelayMs: 2000,
    name,
  });
  try {
    await using owner = new Instance(plan("aa"));
    await owner.works();
    await using next = new Instance(plan("bb"));
    await next.standsBy();
    await acknowledges(owner, owner.acknowledged + 100);
    const since = performance.now();
    await faults[way](owner, proxy);
    await next.works();
    const tookMs = performance.now() - since;
    const seen = await storedEvents(session, schema, owner.name);
    await afterwards[way](owner, proxy);
    await acknowledges(next, 100);
    const stored = await storedEvents(session, schema, owner.name);
    const found: string[] = [];
    if (stored < owner.acknowledged) {
      found.push(`${owner.acknowledged - stored} acknowledged events are lost`);
    }
    if (stored !== seen) found.push(`${stored - seen} events came afterwards`);
    await next.close();
    return { way, tookMs, stored, faults: found };
  } finally {
    await dropSchema(session, schema);
  }
}

type Proxy = Awaited<ReturnType<typeof startProxy>>;

const faults: Record<Way, (owner: Instance, proxy: Proxy) => Promise<void>> = {
  close: (owner) => owner.close(),
  kill: (owner) => Promise.resolve(owner.signal("SIGKILL")),
  freeze: (owner) => Promise.resolve(owner.signal("SIGSTOP")),
  // Connections stay open, but no bytes pass.
  network: (_, proxy) => Promise.resolve(proxy.silence(true)),
};

/**
 * Brings the former owner back, which must find that it no longer owns the
 * schema.
 */
const afterwards: typeof faults = {
  close: () => Promise.resolve(),
  kill: () => Promise.resolve(),
  freeze: async (owner) => {
    owner.signal("SIGCONT");
    await owner.stopped();
  },
  network: async (owner, proxy) => {
    proxy.silence(false);
    proxy.cutAll();
    await owner.stopped();
  },
};

async function acknowledges(one: Instance, events: number): Promise<void> {
  await one.reported(() => one.acknowledged >= events);
}

async function storedEvents(
  session: Session,
  schema: string,
  name: string,
): Promise<number> {
  const id = streamOf(name);
  const { minipools } = new Catalog(schema, 2).tablesOf(id);
  const [row] = await session.script(
    `SELECT count(*) FROM ${minipools}
     WHERE stream_id = '${id}' AND slot_num >= 0`,
  );
  return Number(row?.[0]);
}

function openSession(url: string): Promise<Session> {
  return connectSession(parseConnectionUrl(url), {}, {
    preparedStatements: false,
    answerTimeoutMs: 60_000,
  });
}
