/**
 * The conversation from the startup message to the first ReadyForQuery
 * (PostgreSQL documentation, "Message Flow"). It uses no sockets and no timers:
 * it asks for the next message and answers, so tests can feed it any bytes.
 *
 * The server authenticates once, by one method. Before that, anyone may be
 * speaking, so only the text of an error is kept.
 */

import type { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { PgError, readErrorFields } from "../pg_error.ts";
import type { AuthMethod, AuthPolicy } from "./auth_policy.ts";
import { serverEndPoint } from "./channel_binding.ts";
import { LoginError, LoginProtocolError } from "./login_error.ts";
import { type PasswordSource, readPassword } from "./password.ts";
import type { LoginInput, LoginMessage } from "./login_input.ts";
import {
  passwordMessage,
  saslInitialResponse,
  saslResponse,
  startupMessage,
} from "./messages.ts";
import { type Gs2Header, ScramClient } from "./scram.ts";

/** The server's side of the conversation. */
export interface LoginWire {
  readonly input: LoginInput;
  send(bytes: Buffer): void;
}

/** The login's user, and what it insists on. */
export interface LoginRequest {
  user: string;
  password: PasswordSource;
  /** The parameters of the startup message, including the user. */
  parameters: Readonly<Record<string, string>>;
  policy: AuthPolicy;
  /** Whether TLS is on. */
  isEncrypted: boolean;
  /** The server's certificate in DER, if the runtime shows it. */
  certificate: Uint8Array | undefined;
  /** Called as soon as the server has asked for a proof, or waived it. */
  onAuthentication?: () => void;
}

/** Identifies the session. */
export interface LoggedIn {
  /** The server's process id; 0 if the server did not send it. */
  processId: number;
  /** Needed for a cancel request, with the process id; may be empty. */
  secretKey: Uint8Array;
}

/**
 * Logs in.
 *
 * @throws {PgError} the server refused.
 * @throws {LoginError} this configuration can't work.
 * @throws {LoginProtocolError} the bytes are not a login of a PostgreSQL
 *   server.
 */
export async function logIn(
  wire: LoginWire,
  request: LoginRequest,
): Promise<LoggedIn> {
  wire.send(startupMessage(request.parameters));
  await new Authentication(wire, request).run();
  return await untilReady(wire.input);
}

const code = {
  authentication: 0x52,
  backendKeyData: 0x4b,
  error: 0x45,
  notice: 0x4e,
  parameterStatus: 0x53,
  protocolVersion: 0x76,
  readyForQuery: 0x5a,
} as const;

/** The requests of an authentication message. */
const ask = {
  ok: 0,
  password: 3,
  md5: 5,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const;

/** The methods that are not supported, by their numbers. */
const unsupported: Readonly<Record<number, string>> = {
  1: "Kerberos 4",
  2: "Kerberos 5",
  4: "crypt",
  6: "SCM credentials",
  7: "GSSAPI",
  9: "SSPI",
};

/** Proves to the server who we are. */
class Authentication {
  readonly #wire: LoginWire;
  readonly #request: LoginRequest;

  constructor(wire: LoginWire, request: LoginRequest) {
    this.#wire = wire;
    this.#request = request;
  }

  async run(): Promise<void> {
    const { method, body } = await this.#next();
    this.#request.onAuthentication?.();
    switch (method) {
      case ask.ok:
        return this.#request.policy.admit("none");
      case ask.password:
        await this.#sendPassword("password", (password) => password);
        return await this.#untilOk();
      case ask.md5:
        if (body.length !== 8) throw unexpected("MD5 without its salt");
        await this.#sendPassword("md5", (password) => {
          const inner = md5(password + this.#request.user);
          return `md5${md5(inner, body.subarray(4))}`;
        });
        return await this.#untilOk();
      case ask.sasl:
        await this.#scram(body.subarray(4));
        return await this.#untilOk();
      default:
        throw new LoginError(
          "authentication_unsupported",
          `The server asks for ${unsupported[method] ?? `method ${method}`}, ` +
            "which is not supported: let it ask for scram-sha-256 " +
            "(pg_hba.conf)",
        );
    }
  }

  async #sendPassword(
    method: AuthMethod,
    form: (password: string) => string,
  ): Promise<void> {
    this.#request.policy.admit(method);
    const password = await readPassword(this.#request.password);
    this.#wire.send(passwordMessage(form(password)));
  }

  async #scram(body: Buffer): Promise<void> {
    const offered = body.toString("latin1").split("\0");
    const { policy } = this.#request;
    policy.admit("scram-sha-256");
    const { mechanism, header, binding } = this.#channel(offered);
    const password = await readPassword(this.#request.password);
    const scram = new ScramClient(password, {
      header,
      ...(binding && { binding }),
    });
    this.#wire.send(saslInitialResponse(mechanism, scram.first()));
    const first = await this.#saslStep(ask.saslContinue);
    this.#wire.send(saslResponse(await scram.final(first)));
    scram.verify(await this.#saslStep(ask.saslFinal));
  }

  /** Binds to the channel wherever that is possible, like libpq. */
  #channel(
    offered: readonly string[],
  ): { mechanism: string; header: Gs2Header; binding?: Buffer } {
    const { isEncrypted, certificate, policy } = this.#request;
    const canBind = isEncrypted && certificate !== undefined;
    const plus = "SCRAM-SHA-256-PLUS";
    if (offered.includes(plus) && !isEncrypted) {
      throw unexpected("a channel binding without TLS");
    }
    if (policy.channelBinding !== "disable" && canBind) {
      if (offered.includes(plus)) {
        const binding = serverEndPoint(certificate);
        const header = "p=tls-server-end-point,,";
        return { mechanism: plus, header, binding };
      }
    }
    if (policy.channelBinding === "require") {
      throw new LoginError(
        "authentication_refused",
        "Channel binding is required, but " +
          (!isEncrypted
            ? "TLS is off: use another sslmode"
            : canBind
            ? "the server does not offer it: is there a man in the middle?"
            : "this runtime does not show the server's certificate"),
      );
    }
    if (!offered.includes("SCRAM-SHA-256")) {
      throw new LoginError(
        "authentication_unsupported",
        "The server offers no supported SASL mechanism: let it ask for " +
          "scram-sha-256 (pg_hba.conf)",
      );
    }
    // Says that we support binding. A server that does, too, then knows that
    // somebody removed its offer.
    const header = policy.channelBinding === "prefer" && canBind
      ? "y,,"
      : "n,,";
    return { mechanism: "SCRAM-SHA-256", header };
  }

  async #saslStep(
    wanted: typeof ask.saslContinue | typeof ask.saslFinal,
  ): Promise<string> {
    const { method, body } = await this.#next();
    if (method === wanted) return body.toString("latin1", 4);
    if (method === ask.ok) {
      throw new LoginError(
        "server_unproven",
        "The server ended the login before the end of SCRAM, so it may not " +
          "know the password: it is not the intended server",
      );
    }
    throw unexpected(`authentication ${method} in place of ${wanted}`);
  }

  async #untilOk(): Promise<void> {
    const { method } = await this.#next();
    if (method !== ask.ok) throw unexpected(`authentication ${method} again`);
  }

  async #next(): Promise<{ method: number; body: Buffer }> {
    for (;;) {
      const message = await nextOf(this.#wire.input);
      if (message.code === code.protocolVersion) {
        checkVersion(message.body);
        continue;
      }
      const { body } = message;
      if (message.code !== code.authentication || body.length < 4) {
        throw unexpected(`${nameOf(message)} before authentication`);
      }
      return { method: body.readInt32BE(0), body };
    }
  }
}

/** Reads the session's parameters and its key, until the server is ready. */
async function untilReady(input: LoginInput): Promise<LoggedIn> {
  const loggedIn: LoggedIn = { processId: 0, secretKey: new Uint8Array(0) };
  for (;;) {
    const message = await nextOf(input);
    const { body } = message;
    switch (message.code) {
      case code.parameterStatus:
        break;
      case code.backendKeyData:
        // 4 bytes in protocol 3.0, up to 256 in 3.2.
        if (body.length < 4 || body.length > 4 + 256) {
          throw unexpected(`a key of ${body.length} bytes`);
        }
        loggedIn.processId = body.readInt32BE(0);
        loggedIn.secretKey = new Uint8Array(body.subarray(4));
        break;
      case code.readyForQuery:
        if (body.length === 1 && body[0] === 0x49) return loggedIn;
        throw unexpected("a session that is not idle");
      default:
        throw unexpected(`${nameOf(message)} after authentication`);
    }
  }
}

/** The next message that is neither a notice nor an error. */
async function nextOf(input: LoginInput): Promise<LoginMessage> {
  for (;;) {
    const message = await input.message();
    const { body } = message;
    if (message.code === code.error) {
      throw new PgError(readErrorFields(body, 0, body.length), -1);
    }
    if (message.code !== code.notice) return message;
  }
}

/** We ask for 3.0 and no extension, so there is nothing to negotiate. */
function checkVersion(body: Buffer): void {
  const isOurs = body.length >= 8 && body.readInt32BE(0) >= 3 << 16 &&
    body.readInt32BE(4) === 0;
  if (!isOurs) throw unexpected("another version of the protocol");
}

function nameOf({ code, body }: LoginMessage): string {
  return `message ${code} of ${body.length} bytes`;
}

function unexpected(found: string): LoginProtocolError {
  return new LoginProtocolError(
    `Expected a login of PostgreSQL, got ${found}`,
  );
}

function md5(text: string, salt: Uint8Array = new Uint8Array(0)): string {
  return createHash("md5").update(text).update(salt).digest("hex");
}
