/**
 * Looks for faults that have hurt such stores before: durability that is
 * switched off, limits that don't add up, poolers, settings of roles, tables
 * that have drifted. The doctor changes nothing, and takes no lock that blocks
 * other work.
 */

import process from "node:process";
import { messageOf } from "../../storage/foreign_text.ts";
import { sqlStateOf } from "../../database/failures.ts";
import { selectHasCitus } from "../../database/cluster/find_home.ts";
import { parseConnectionUrl } from "../../database/connection_target.ts";
import type { Session } from "../../database/session.ts";
import { bind } from "../../database/statement.ts";
import { sessionOptions } from "../../postgres/connections.ts";
import type { ReadingOptions } from "../../postgres/resolved_options.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import { withSession } from "../session.ts";
import { storesOf } from "../status/find_stores.ts";
import { cluster } from "./cluster_checks.ts";
import {
  checkPooler,
  connectionChecks,
  roleSettings,
} from "./connection_checks.ts";
import {
  type CheckName,
  checkNames,
  type Diagnosis,
  fail,
  ok,
  type Result,
  unknown,
} from "./diagnosis.ts";
import { askOn, type Check, type Look } from "./look.ts";
import {
  checkPermissions,
  checkRuntime,
  permissionsOfRuntime,
} from "./machine_checks.ts";
import type { DoctorOptions, DoctorReport } from "./options.ts";
import { rights, schemaChecks } from "./schema_checks.ts";
import { lookAtSchema } from "./schema_look.ts";
import { checkClock, checkServer, serverChecks } from "./server_checks.ts";
import { selectServer, selectSettings } from "./server_sql.ts";

/**
 * Examines a server and, with `schema`, a store there. Every result has a level
 * (`ok`, `warn`, `fail` or `unknown`) and, unless all is well, advice.
 *
 * ```ts
 * import { doctor } from "@towns/stream-storage/operator";
 *
 * for (const { level, check, found } of (await doctor({ url })).diagnoses) {
 *   if (level !== "ok") console.log(level, check, found);
 * }
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader` for a server that can't be
 *   reached or refuses the login; a faulty address is a result, not an error.
 */
export async function doctor(options: DoctorOptions): Promise<DoctorReport> {
  const found = await machineDiagnoses(options.url);
  // Without an address or a permission, no connection is possible.
  if (found.some(isInTheWay)) return reportOf(found);
  const { schema: given, maxConnections, ...server } = options;
  return await withSession(
    "doctor",
    { targetSessionAttrs: "any", ...server },
    async (session, resolved) => {
      const { look, diagnoses } = await lookAtServer(session, {
        resolved,
        maxConnections,
        schema: given,
      });
      found.push(...diagnoses);
      const [only, ...others] = look.stores;
      const schema = given ?? (others.length === 0 ? only : undefined);
      if (schema !== undefined) found.push(...await ofSchema(look, schema));
      return reportOf(found, { schema, stores: look.stores });
    },
  );
}

/**
 * Whether a result rules out a connection: a faulty address, a missing
 * permission.
 */
function isInTheWay({ check, level }: Diagnosis): boolean {
  return level === "fail" && (check === "address" || check === "permissions");
}

/** Checks the address and this process, without a server. */
async function machineDiagnoses(url: string | undefined): Promise<Diagnosis[]> {
  const runtime = named("runtime", [checkRuntime(process.versions)]);
  if (url === undefined) return runtime;
  try {
    const target = parseConnectionUrl(url);
    const permissions = await checkPermissions(target, permissionsOfRuntime());
    return [
      ...named("address", [ok("Every parameter is known")]),
      ...named("permissions", permissions),
      ...runtime,
    ];
  } catch (error) {
    if (!isStreamStorageError(error, "BAD_CONFIG")) throw error;
    return [...addressReport(error).diagnoses, ...runtime];
  }
}

/** The report for a faulty address. */
export function addressReport({ message }: Error): DoctorReport {
  const advice = "Correct the address: docs/connection_url.md has the rules.";
  return reportOf(named("address", [fail(message, advice)]));
}

async function lookAtServer(
  session: Session,
  { resolved, maxConnections, schema }: {
    resolved: ReadingOptions;
    maxConnections: number | undefined;
    schema: string | undefined;
  },
): Promise<{ look: Look; diagnoses: Diagnosis[] }> {
  const ask = askOn(session);
  const sentMs = Date.now();
  const [{ rows: [server] }] = await session.run([bind(selectServer)]);
  const receivedMs = Date.now();
  const [seconds, version, versionNumber, isStandby, answeredBy] = server!;
  const [settings, citus] = await ask([
    bind(selectSettings),
    bind(selectHasCitus),
  ]);
  const stores = (await storesOf(session)).map(({ schema }) => schema);
  const look: Look = {
    session,
    sessionOptions: { ...sessionOptions(resolved), preparedStatements: false },
    target: resolved.target,
    isStandby,
    hasCitus: citus.rows[0]?.[0] === true,
    maxConnections,
    stores,
    signal: resolved.signal,
    settings: new Map(
      settings.rows.map(([name, value, source]) => [name, { value, source }]),
    ),
    ask,
  };
  const clock = { serverMs: seconds * 1000, sentMs, receivedMs };
  const facts = { answeredBy, loggedInTo: session.processId };
  const checks: Check[] = [
    { name: "server", run: () => [checkServer(version, versionNumber)] },
    { name: "clock", run: () => [checkClock(clock)] },
    { name: "pooler", run: async (on) => [await checkPooler(on, facts)] },
    ...connectionChecks,
    roleSettings(schema ?? (stores.length === 1 ? stores[0] : undefined)),
    ...serverChecks,
    cluster,
  ];
  return { look, diagnoses: await runAll(checks, look) };
}

async function ofSchema(look: Look, schema: string): Promise<Diagnosis[]> {
  try {
    const of = await lookAtSchema(look, schema);
    return "level" in of
      ? named("versions", [of])
      : await runAll(schemaChecks, of);
  } catch (error) {
    // This role may not even read the schema's versions.
    if (sqlStateOf(error) !== "42501") throw error;
    return await runAll([rights], { ...look, schema });
  }
}

async function runAll<L extends Look>(
  checks: readonly Check<L>[],
  look: L,
): Promise<Diagnosis[]> {
  const found: Diagnosis[] = [];
  for (const { name, run } of checks) {
    look.signal?.throwIfAborted();
    try {
      found.push(...named(name, await run(look)));
    } catch (error) {
      // A server that refuses one look may still answer the next one.
      if (sqlStateOf(error) === undefined || !look.session.usable) throw error;
      found.push(...named(name, [
        unknown(`The server does not let us look: ${messageOf(error)}`),
      ]));
    }
  }
  return found;
}

function named(check: CheckName, results: Result[]): Diagnosis[] {
  return results.map((result) => ({ check, ...result }));
}

function reportOf(
  diagnoses: Diagnosis[],
  { schema, stores = [] }: {
    schema?: string | undefined;
    stores?: readonly string[];
  } = {},
): DoctorReport {
  const place = ({ check }: Diagnosis) => checkNames.indexOf(check);
  const count = (level: Diagnosis["level"]) =>
    diagnoses.filter((each) => each.level === level).length;
  return {
    schema: schema ?? null,
    stores: [...stores],
    diagnoses: diagnoses.toSorted((a, b) => place(a) - place(b)),
    failures: count("fail"),
    warnings: count("warn"),
  };
}
