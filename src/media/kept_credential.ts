/**
 * A credential of an object store that expires. It is requested when it is
 * needed, by one request at a time, and kept until shortly before its end.
 */

import type { ReplyFault } from "./reply_fault.ts";

/** A credential, and how long it may be used by our clock. */
export interface Credential<T> {
  value: T;
  until: number;
}

/** A credential is dropped this long before its end. */
const spareMs = 120_000;

/** No credential is kept longer, whatever its expiry time says. */
const maxLifeMs = 12 * 3_600_000;

/** The time until which a credential with this end is kept. */
export function keptUntil(end: number, now: number): number {
  return Math.max(Math.min(end, now + maxLifeMs) - spareMs, now + 1000);
}

/** See the head of this file. */
export class KeptCredential<T> {
  readonly #ask: () => Promise<Credential<T>>;
  #asked: Promise<Credential<T>> | undefined;

  constructor(ask: () => Promise<Credential<T>>) {
    this.#ask = ask;
  }

  /** A credential that stays valid for a while. */
  async get(): Promise<T> {
    const kept = this.#asked;
    if (kept !== undefined) {
      const { value, until } = await this.#held(kept);
      if (Date.now() < until) return value;
      if (this.#asked === kept) this.#asked = undefined;
    }
    // However short its life, it serves the request that waits for it.
    return (await this.#held(this.#asked ??= this.#ask())).value;
  }

  /** Drops the present credential, because the store has refused it. */
  forget(): void {
    this.#asked = undefined;
  }

  /** After a failed request, the next caller asks again. */
  async #held(asked: Promise<Credential<T>>): Promise<Credential<T>> {
    try {
      return await asked;
    } catch (error) {
      if (this.#asked === asked) this.#asked = undefined;
      throw error;
    }
  }
}

/** S3's codes for keys that have expired or were revoked. */
const staleCodes: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "InvalidAccessKeyId",
  "InvalidToken",
]);

/** Whether a new credential may succeed where this one was refused. */
export function isProofRefused(
  method: string,
  { init }: ReplyFault,
): boolean {
  const { status, reason, providerCode } = init;
  if (providerCode !== undefined && staleCodes.has(providerCode)) return true;
  // The answer to HEAD has no body, so it holds no code of S3's.
  const isMute = method === "HEAD" && (status === 400 || status === 403);
  return isMute || (status === 401 && reason === "access_denied");
}
