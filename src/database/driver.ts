/**
 * The one file that knows `pg`. `pg` does what is the same for everybody: the
 * TCP connection, TLS, authentication and the startup message. Once the server
 * is ready the socket is ours (session.ts): pg decodes every field as UTF-8,
 * which destroys bytea, and refuses pipelined queries of one's own.
 *
 * What we rely on, pinned by version and by tests/session_test.ts: that
 * `client.connection.stream` is the socket, that pg reads it by one `data`
 * listener, that client's `error` and `end` events tell of its loss, and that
 * `getStartupConf` makes the startup message.
 */

import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
// Not all of "pg", which reads the environment to choose an implementation.
import pgClient from "pg/lib/client.js";
import type { ConnectionTarget, SslOptions } from "./connection_target.ts";
import {
  type Address,
  type CurrentServer,
  factsOf,
  WrongServerError,
} from "./current_server.ts";
import { ConnectionLostError } from "./pg_error.ts";
import {
  Session,
  type SessionOptions,
  type SessionTransport,
} from "./session.ts";
import type { SessionSettings } from "./transaction_settings.ts";

/** How the session behaves, and what gives up the attempt to connect. */
export interface ConnectOptions extends SessionOptions {
  signal?: AbortSignal | undefined;
  /** Where the store is: refuses a session to another server. */
  server?: CurrentServer | undefined;
}

/** The part of pg's client that is used. */
interface PgClient {
  connect(): Promise<void>;
  end(): Promise<void>;
  on(event: "error", listener: (error: Error) => void): void;
  on(event: "end", listener: () => void): void;
  connection: { stream: Socket };
  processID: number;
  /** Gives the parameters of the startup message. */
  getStartupConf(): Record<string, string>;
}

const Client = pgClient as unknown as new (
  config: Record<string, unknown>,
) => PgClient;

/**
 * Connects and authenticates; tries the hosts in order, that where the store is
 * before the others.
 *
 * @throws {ConnectionLostError} (with `sent` false) no host could be reached
 *   or took us, or the signal ended the last attempt; the cause is what the
 *   last one said. The signal's reason before another attempt.
 */
export async function connectSession(
  target: ConnectionTarget,
  settings: SessionSettings,
  options: ConnectOptions,
): Promise<Session> {
  const { server, signal } = options;
  let failure: unknown;
  for (const address of server?.ordered(target.hosts) ?? target.hosts) {
    signal?.throwIfAborted();
    try {
      const session = await connectTo(target, address, settings, options);
      await examine(session, target, address, server);
      return session;
    } catch (error) {
      failure = error;
    }
  }
  throw new ConnectionLostError(
    `Could not connect to the database: ${messageOf(failure)}`,
    false,
    failure,
  );
}

async function connectTo(
  target: ConnectionTarget,
  address: { host: string; port: number },
  settings: SessionSettings,
  options: ConnectOptions,
): Promise<Session> {
  if (target.ssl.mode !== "prefer") {
    return await handshake(
      target,
      address,
      settings,
      options,
      tlsOptions(target.ssl),
    );
  }
  try {
    const tls = tlsOptions({ ...target.ssl, mode: "require" });
    return await handshake(target, address, settings, options, tls);
  } catch (error) {
    if (!messageOf(error).includes("does not support SSL")) throw error;
    return await handshake(target, address, settings, options, false);
  }
}

async function handshake(
  target: ConnectionTarget,
  address: { host: string; port: number },
  settings: SessionSettings,
  options: ConnectOptions,
  ssl: false | ConnectionOptions,
): Promise<Session> {
  const plain = ssl === false ? reusingSocket() : undefined;
  const client = new Client({
    ...notFromEnvironment,
    ...(plain === undefined ? {} : { stream: () => plain.socket }),
    ...address,
    user: target.user,
    // A function, so that pg looks for no password anywhere else.
    password: () => target.password,
    database: target.database,
    ssl,
    connectionTimeoutMillis: target.connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  client.getStartupConf = () => startupParameters(target, settings);
  const opened: { session?: Session } = {};
  // Without a listener an error of a dying connection ends the process.
  client.on("error", (error) => opened.session?.fail(messageOf(error), error));
  client.on("end", () => opened.session?.fail("Connection terminated"));
  const giveUp = () => void client.connection.stream.destroy();
  options.signal?.addEventListener("abort", giveUp, { once: true });
  try {
    await client.connect();
  } catch (error) {
    giveUp();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", giveUp);
  }
  const { connection, processID } = client;
  connection.stream.removeAllListeners("data");
  opened.session = new Session({
    socket: connection.stream,
    receive: plain?.receive ??
      ((take) => void connection.stream.on("data", take)),
    end: () => client.end(),
    processId: processID,
    mustWrite: target.readWrite,
  }, options);
  return opened.session;
}

/**
 * What pg would look up as PGBINARY, PGOPTIONS and so on if it were empty. A
 * program's environment is not ours to read, and Deno does not let us. None of
 * these values reaches the server: `startupParameters` says what does.
 */
const notFromEnvironment = {
  application_name: "stream-storage",
  binary: true,
  client_encoding: "UTF8",
  options: "none",
  replication: "off",
  sslnegotiation: "postgres",
};

/** Empty ones are left out: poolers refuse parameters that they don't know. */
function startupParameters(
  target: ConnectionTarget,
  settings: SessionSettings,
): Record<string, string> {
  const parameters = {
    user: target.user,
    database: target.database,
    application_name: target.applicationName,
    options: settingsAsOptions(settings),
  };
  return Object.fromEntries(
    Object.entries(parameters).filter(([, value]) => value !== ""),
  );
}

/** As much as a kernel hands over at once; fits into a core's own cache. */
const readBytes = 64 * 1024;

/** A socket that reads into one buffer again and again; see the file's head. */
function reusingSocket(): Pick<SessionTransport, "socket" | "receive"> {
  const buffer = Buffer.allocUnsafeSlow(readBytes);
  // pg reads the handshake as a stream, and may keep what it was given.
  let take: (chunk: Buffer) => void = (chunk) =>
    void socket.emit("data", Buffer.from(chunk));
  const socket = new Socket({
    onread: {
      buffer,
      callback: (size) => {
        take(buffer.subarray(0, size));
        return true;
      },
    },
  });
  return { socket, receive: (callback) => void (take = callback) };
}

/** The startup packet's `options`, as the server splits it: by white space. */
function settingsAsOptions(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, "\\$&")}`)
    .join(" ");
}

function tlsOptions(ssl: SslOptions): false | ConnectionOptions {
  if (ssl.mode === "disable") return false;
  const certificates: ConnectionOptions = {};
  if (ssl.ca !== undefined) certificates.ca = ssl.ca;
  if (ssl.cert !== undefined) certificates.cert = ssl.cert;
  if (ssl.key !== undefined) certificates.key = ssl.key;
  switch (ssl.mode) {
    case "prefer":
    case "require":
      // As libpq: encrypts, and trusts whoever answers.
      return { ...certificates, rejectUnauthorized: false };
    case "verify-ca":
      return {
        ...certificates,
        rejectUnauthorized: true,
        checkServerIdentity: () => undefined,
      };
    case "verify-full":
      return { ...certificates, rejectUnauthorized: true };
  }
}

/** Ends the session and throws if this is not the server to be at. */
async function examine(
  session: Session,
  { readWrite }: ConnectionTarget,
  address: Address,
  server: CurrentServer | undefined,
): Promise<void> {
  if (!readWrite && server === undefined) return;
  try {
    const facts = await factsOf(session);
    if (readWrite && !facts.takesWrites) {
      throw new WrongServerError("The server is read-only");
    }
    server?.admit(session, facts, address);
  } catch (error) {
    session.destroy("This is not the server to be at", error);
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
