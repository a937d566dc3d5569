/**
 * Makes sessions: connects to a host, with or without TLS, logs in (login/),
 * and hands the socket over to the session, with the bytes that came after the
 * login. One deadline covers all of it, whatever comes meanwhile.
 */

import type { Buffer } from "node:buffer";
import { messageOf } from "../storage/foreign_text.ts";
import { requestCancel } from "./cancel_request.ts";
import type { ConnectionTarget } from "./connection_target.ts";
import {
  type Address,
  type CurrentServer,
  factsOf,
  WrongServerError,
} from "./current_server.ts";
import { AuthPolicy } from "./login/auth_policy.ts";
import { readTlsSettings, type TlsSettings } from "./login/certificates.ts";
import { isSocketDirectory, Line } from "./login/line.ts";
import { type LoggedIn, logIn } from "./login/log_in.ts";
import { LoginError } from "./login/login_error.ts";
import { LoginInput } from "./login/login_input.ts";
import { sslRequest } from "./login/messages.ts";
import {
  type PasswordSource,
  PasswordUnavailableError,
} from "./login/password.ts";
import { readTlsAnswer, tlsUnavailable } from "./login/tls.ts";
import { ConnectionLostError, PgError } from "./pg_error.ts";
import { Session, type SessionOptions } from "./session.ts";
import { misfitOf, roundsOf, type SessionAttrs } from "./session_attrs.ts";
import type { SessionSettings } from "./transaction_settings.ts";

/** How the session behaves, and what gives up connecting. */
export interface ConnectOptions extends SessionOptions {
  signal?: AbortSignal | undefined;
  /** The store's server: refuses a session to another one. */
  server?: CurrentServer | undefined;
  /**
   * Whether the session is for little data. If the server has no TLS and need
   * not, the connection that asked for TLS is then kept, although it reads more
   * slowly than a new one would.
   */
  isForLittle?: boolean;
}

/**
 * Connects and authenticates; tries the hosts in order, the store's host first.
 *
 * @throws {ConnectionLostError} (with `sent` false) no host could be reached or
 *   accepted the login, there was no password, or the signal ended the last
 *   attempt; the cause is the error of the last one. The signal's reason before
 *   another attempt.
 */
export async function connectSession(
  target: ConnectionTarget,
  settings: SessionSettings,
  options: ConnectOptions,
): Promise<Session> {
  const { server, signal } = options;
  let failure: unknown;
  for (const attrs of roundsOf(target.sessionAttrs)) {
    for (const address of server?.ordered(target.hosts) ?? target.hosts) {
      signal?.throwIfAborted();
      try {
        const session = await connectTo(target, address, settings, options);
        await examine(session, attrs, address, server);
        return session;
      } catch (error) {
        failure = error;
      }
    }
  }
  throw new ConnectionLostError(
    `Could not connect to the database: ${messageOf(failure)}`,
    false,
    failure,
  );
}

/** An attempt at one host. */
interface Attempt {
  target: ConnectionTarget;
  address: Address;
  settings: SessionSettings;
  options: ConnectOptions;
  /** In the time of `performance.now()`. */
  deadline: number;
  /** Whether it failed in a way in which an attempt without TLS might not. */
  failedByTls: boolean;
  /** Whether the password function has not answered yet. */
  waitsForPassword: boolean;
  /** Whether its time is up, or it was given up. */
  isOver: boolean;
}

async function connectTo(
  target: ConnectionTarget,
  address: Address,
  settings: SessionSettings,
  options: ConnectOptions,
): Promise<Session> {
  const deadline = performance.now() + target.connectTimeoutMs;
  const begin = (): Attempt => ({
    target,
    address,
    settings,
    options,
    deadline,
    failedByTls: false,
    waitsForPassword: false,
    isOver: false,
  });
  const { mode } = target.ssl;
  // Like libpq: a connection inside the machine is not encrypted.
  if (mode === "disable" || isSocketDirectory(address.host)) {
    return await handshake(begin(), "plain");
  }
  const encrypted = begin();
  try {
    return await handshake(encrypted, "tls");
  } catch (error) {
    const { failedByTls, isOver } = encrypted;
    if (mode !== "prefer" || !failedByTls || isOver) throw error;
    return await handshake(begin(), "plain");
  }
}

async function handshake(
  attempt: Attempt,
  kind: "plain" | "tls",
): Promise<Session> {
  const { target, address } = attempt;
  const line = new Line(kind);
  const input = new LoginInput();
  line.receive((chunk) => input.push(chunk));
  const broken = new Promise<never>((_, reject) =>
    line.onLost((error) => {
      input.fail(error);
      reject(error);
    })
  );
  const stopWaiting = giveUpLate(line, attempt);
  try {
    const work = async () => {
      // Read first, so that the handshake follows the server's agreement to TLS
      // at once and nobody can insert bytes in between.
      const tls = kind === "tls"
        ? await readTlsSettings(target.ssl)
        : undefined;
      await line.connect(address, target.keepAliveMs);
      if (tls !== undefined) await encrypt(line, input, tls, attempt);
      return await logInTo(line, input, attempt);
    };
    // The running work may be hashing, which does not notice a broken line.
    const key = await Promise.race([work(), broken]);
    return sessionOn(line, input, { attempt, key });
  } catch (error) {
    line.destroy(error as Error);
    throw error;
  } finally {
    stopWaiting();
  }
}

/** The session on a line that is logged in. */
function sessionOn(
  line: Line,
  input: LoginInput,
  { attempt: { target, address, options }, key: { processId, secretKey } }: {
    attempt: Attempt;
    key: Awaited<ReturnType<typeof logInTo>>;
  },
): Session {
  const session: Session = new Session({
    socket: line.socket,
    receive: (take) => handOver(line, input, take),
    end: () => line.end(),
    cancel: (withinMs) => {
      const ssl = line.isEncrypted ? target.ssl : undefined;
      return requestCancel({ address, ssl, processId, secretKey }, withinMs);
    },
    processId,
    secretKey,
    attrs: target.sessionAttrs,
  }, options);
  line.onLost((error) => {
    const cause = error instanceof LoginError ? error.cause : error;
    session.fail(messageOf(cause), cause);
  });
  return session;
}

async function encrypt(
  line: Line,
  input: LoginInput,
  ssl: TlsSettings,
  attempt: Attempt,
): Promise<void> {
  if (ssl.negotiation !== "direct") {
    line.send(sslRequest());
    if (!await readTlsAnswer(input)) {
      if (ssl.mode === "prefer" && attempt.options.isForLittle) return;
      attempt.failedByTls = true;
      throw tlsUnavailable(ssl);
    }
  }
  try {
    await line.encrypt(ssl, attempt.address.host);
  } catch (error) {
    attempt.failedByTls = true;
    throw error;
  }
}

/** Logs in, and notes whether the server's rules might allow us without TLS. */
async function logInTo(
  line: Line,
  input: LoginInput,
  attempt: Attempt,
): Promise<LoggedIn> {
  const { target, settings } = attempt;
  let wasAsked = false;
  try {
    return await logIn({ input, send: (bytes) => line.send(bytes) }, {
      user: target.user,
      password: watched(target.password, attempt),
      parameters: startupParameters(target, settings),
      policy: new AuthPolicy(target.channelBinding, target.requireAuth),
      isEncrypted: line.isEncrypted,
      certificate: line.certificate,
      onAuthentication: () => wasAsked = true,
    });
  } catch (error) {
    const isRefused = error instanceof PgError && error.sqlState === "28000";
    attempt.failedByTls = line.isEncrypted && isRefused && !wasAsked;
    throw error;
  }
}

/** Notes the time during which the function is waited for. */
function watched(password: PasswordSource, attempt: Attempt): PasswordSource {
  if (typeof password === "string") return password;
  return async () => {
    attempt.waitsForPassword = true;
    const given = await password();
    attempt.waitsForPassword = false;
    return given;
  };
}

/** Ends the attempt at its deadline, and when it is given up. */
function giveUpLate(line: Line, attempt: Attempt): () => void {
  const { signal } = attempt.options;
  const giveUp = (error: Error) => {
    attempt.isOver = true;
    line.destroy(error);
  };
  const timer = setTimeout(
    () => giveUp(lateError(attempt)),
    Math.max(0, attempt.deadline - performance.now()),
  );
  const onAbort = () => {
    const { reason: cause } = signal!;
    giveUp(new Error("Connecting was given up", { cause }));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
}

function lateError(
  { target: { connectTimeoutMs }, waitsForPassword }: Attempt,
): Error {
  return waitsForPassword
    ? new PasswordUnavailableError(
      `The function \`password\` returned none within ${connectTimeoutMs} ms, ` +
        "the limit of the whole connection",
    )
    : new Error(`Expected a session within ${connectTimeoutMs} ms`);
}

/** Hands over the bytes that came after the login, before any others. */
function handOver(
  line: Line,
  input: LoginInput,
  take: (chunk: Buffer) => void,
): void {
  line.receive(take);
  const rest = input.rest();
  if (rest.length > 0) take(rest);
}

/** Leaves out empty parameters: poolers refuse any that they don't know. */
function startupParameters(
  target: ConnectionTarget,
  settings: SessionSettings,
): Record<string, string> {
  const parameters = {
    user: target.user,
    database: target.database,
    application_name: target.applicationName,
    // A role, or a database in another encoding, has a default of its own.
    client_encoding: "UTF8",
    // The last value of a setting counts, so ours come last.
    options: `${target.options} ${settingsAsOptions(settings)}`.trim(),
  };
  return Object.fromEntries(
    Object.entries(parameters).filter(([, value]) => value !== ""),
  );
}

/** The startup packet's `options`, which the server splits at white space. */
function settingsAsOptions(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, "\\$&")}`)
    .join(" ");
}

/** Ends the session and throws if its server is not the store's. */
async function examine(
  session: Session,
  attrs: SessionAttrs,
  address: Address,
  server: CurrentServer | undefined,
): Promise<void> {
  if (attrs === "any" && server === undefined) return;
  try {
    const facts = await factsOf(session);
    const misfit = misfitOf(attrs, facts);
    if (misfit !== undefined) throw new WrongServerError(misfit);
    server?.admit(session, facts, address);
  } catch (error) {
    session.destroy("The session's server is not the store's", error);
    throw error;
  }
}
