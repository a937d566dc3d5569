/** Logins without sockets: the real client against a server's scripted turns. */
import type { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import { AuthPolicy } from "../../../src/database/login/auth_policy.ts";
import {
  type LoggedIn,
  logIn,
  type LoginRequest,
} from "../../../src/database/login/log_in.ts";
import {
  ConnectionClosedError,
  LoginError,
  LoginProtocolError,
} from "../../../src/database/login/login_error.ts";
import {
  LoginInput,
  type LoginMessage,
} from "../../../src/database/login/login_input.ts";
import { PgError } from "../../../src/database/pg_error.ts";
import type { Turn } from "./server.ts";

/**
 * A scripted server replies while the client sends. A message that is not there
 * when the client asks for it never comes, so the server closes.
 */
class ScriptedInput extends LoginInput {
  override message(): Promise<LoginMessage> {
    const next = super.message();
    let isThere = false;
    const arrived = () => isThere = true;
    next.then(arrived, arrived);
    setImmediate(() => {
      if (!isThere) this.fail(new ConnectionClosedError());
    });
    return next;
  }
}

/** Changes the server's bytes of a turn. */
export type Change = (bytes: Buffer, turn: number) => Buffer;

export interface ScriptedLogin {
  turns: readonly Turn[];
  request?: Partial<LoginRequest>;
  change?: Change;
  /** The sizes of the chunks in which the bytes arrive, repeated. */
  chunks?: readonly number[];
}

/** Plays a login; a turn that throws closes the connection. */
export function playLogin(
  { turns, request = {}, change = (bytes) => bytes, chunks = [] }:
    ScriptedLogin,
): Promise<LoggedIn> {
  const input = new ScriptedInput();
  let turn = 0;
  const wire = {
    input,
    send(said: Buffer): void {
      try {
        const answer = turns[turn]?.(said);
        if (answer === undefined) return;
        for (const chunk of split(change(answer, turn++), chunks)) {
          input.push(chunk);
        }
      } catch {
        input.fail(new ConnectionClosedError());
      }
    },
  };
  return logIn(wire, {
    user: "u",
    password: "secret",
    parameters: { user: "u" },
    policy: new AuthPolicy("prefer", undefined),
    isEncrypted: false,
    certificate: undefined,
    ...request,
  });
}

/** Whether a login may fail with this error; any other is a fault of ours. */
export function isTyped(error: unknown): error is Error {
  return [LoginError, LoginProtocolError, PgError, ConnectionClosedError]
    .some((type) => error instanceof type);
}

function* split(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    yield bytes.subarray(at, at + Math.max(1, size));
    at += Math.max(1, size);
  }
}
