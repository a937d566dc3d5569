/**
 * The server's side of a login as bytes, which tests play or damage. Its SCRAM
 * is a second implementation, after the RFC, and so checks ours.
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";

/** A message as the protocol has it: letter, length, body. */
export function message(letter: string, body: Uint8Array | string): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(5);
  head.write(letter, "latin1");
  head.writeInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** An authentication message. */
export function authentication(
  method: number,
  data: Uint8Array | string = "",
): Buffer {
  return message("R", Buffer.concat([int32(method), Buffer.from(data)]));
}

/** An ErrorResponse, or a NoticeResponse by its letter. */
export function errorResponse(
  sqlState: string,
  text = "no",
  letter = "E",
): Buffer {
  return message(letter, `SFATAL\0VFATAL\0C${sqlState}\0M${text}\0\0`);
}

/** All that follows AuthenticationOk. */
export const greeting = Buffer.concat([
  message("S", "server_version\x0018.0\0"),
  message("S", "client_encoding\0UTF8\0"),
  message("K", Buffer.concat([int32(4711), Buffer.from([1, 2, 3, 4])])),
  message("Z", "I"),
]);

export const authenticationOk = authentication(0);

/** One turn of a server: its bytes, given those that the client just sent. */
export type Turn = (said: Buffer) => Buffer;

export interface ScramServerOptions {
  password: string;
  mechanisms?: string[];
  iterations?: number;
  /** The channel binding that the client should prove. */
  binding?: Uint8Array;
}

/** A login by SCRAM in three turns; throws if the client breaks the protocol. */
export function scramTurns(options: ScramServerOptions): Turn[] {
  const { mechanisms = ["SCRAM-SHA-256"], iterations = 1 } = options;
  const binding = options.binding ?? new Uint8Array(0);
  const salt = randomBytes(16);
  let header = "";
  let clientFirst = "";
  let serverFirst = "";
  return [
    () =>
      authentication(10, `${mechanisms.map((name) => `${name}\0`).join("")}\0`),
    (said) => {
      const text = said.toString("latin1");
      const start = text.indexOf("\0", 5) + 5;
      const [, gs2, bare] = /^([pny][^,]*,,)(.*)$/s.exec(text.slice(start))!;
      header = gs2!;
      clientFirst = bare!;
      const nonce = clientFirst.split("r=")[1]! +
        randomBytes(6).toString("hex");
      serverFirst = `r=${nonce},s=${salt.toString("base64")},i=${iterations}`;
      return authentication(11, serverFirst);
    },
    (said) => {
      const final = said.toString("latin1", 5);
      const [withoutProof, proof] = final.split(",p=") as [string, string];
      const channel = Buffer.concat([Buffer.from(header), binding]);
      const expected = `c=${channel.toString("base64")},`;
      if (!withoutProof.startsWith(expected)) {
        return errorResponse("28000", "SCRAM channel binding check failed");
      }
      const signed = `${clientFirst},${serverFirst},${withoutProof}`;
      const { password } = options;
      const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
      if (!proves(salted, signed, proof)) return errorResponse("28P01");
      const own = hmac(hmac(salted, "Server Key"), signed);
      return Buffer.concat([
        authentication(12, `v=${own.toString("base64")}`),
        authenticationOk,
        greeting,
      ]);
    },
  ];
}

/** Whether the proof shows that the client knows the password. */
function proves(salted: Buffer, signed: string, proof: string): boolean {
  const clientKey = hmac(salted, "Client Key");
  const stored = createHash("sha256").update(clientKey).digest();
  const signature = hmac(stored, signed);
  const shown = Buffer.from(proof, "base64")
    .map((byte, i) => byte ^ signature[i]!);
  const found = createHash("sha256").update(shown).digest();
  return timingSafeEqual(found, stored);
}

/** Logins with no password, with one in clear, and with one hashed by MD5. */
export const plainTurns: Record<string, Turn[]> = {
  trust: [() => Buffer.concat([authenticationOk, greeting])],
  password: [
    () => authentication(3),
    () => Buffer.concat([authenticationOk, greeting]),
  ],
  md5: [
    () => authentication(5, Buffer.from([1, 2, 3, 4])),
    () => Buffer.concat([authenticationOk, greeting]),
  ],
};

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
