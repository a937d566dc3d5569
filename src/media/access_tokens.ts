import { HttpClient, type HttpPolicy, statusFault } from "./http_client.ts";
import { isWord } from "./given_credentials.ts";
import {
  type Credential,
  KeptCredential,
  keptUntil,
} from "./kept_credential.ts";
import { ReplyFault } from "./reply_fault.ts";

/** The fields that are used of a service account's JSON. */
export interface ServiceAccount {
  clientEmail: string;
  /** PKCS #8, PEM. */
  privateKey: string;
  privateKeyId?: string | undefined;
  tokenUri: string;
}

/** Allows reading and writing objects, but no change of a bucket. */
const scope = "https://www.googleapis.com/auth/devstorage.read_write";

/**
 * Access tokens of a service account, requested with an assertion that its
 * private key signs.
 */
export class AccessTokens {
  readonly #account: ServiceAccount;
  readonly #http: HttpClient;
  #key: Promise<CryptoKey> | undefined;
  readonly #kept = new KeptCredential(() => this.#ask());

  constructor(account: ServiceAccount, policy: HttpPolicy) {
    this.#account = account;
    // The request that needs the token is retried, and asks for a token again.
    this.#http = new HttpClient({ ...policy, attempts: 1 });
  }

  /** A token that stays valid for a while. */
  get(): Promise<string> {
    return this.#kept.get();
  }

  /** Drops the present token, because the store has refused it. */
  forget(): void {
    this.#kept.forget();
  }

  async #ask(): Promise<Credential<string>> {
    const now = Date.now();
    const body = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: await this.#assertion(Math.floor(now / 1000)),
    });
    return await this.#http.send({
      method: "POST",
      url: new URL(this.#account.tokenUri),
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new TextEncoder().encode(body.toString()),
    }, (reply) => {
      if (reply.status !== 200) {
        const { reason, ...init } = statusFault(reply).init;
        throw new ReplyFault({
          ...init,
          reason: init.retryable ? reason : "credentials_refused",
        });
      }
      const { access_token: text, expires_in: seconds } = parse(reply.body);
      if (!isWord(text) || typeof seconds !== "number") {
        throw new ReplyFault({ reason: "malformed_token", retryable: true });
      }
      return { value: text, until: keptUntil(now + seconds * 1000, now) };
    });
  }

  async #assertion(now: number): Promise<string> {
    const { clientEmail, privateKeyId, tokenUri } = this.#account;
    const head = {
      alg: "RS256",
      typ: "JWT",
      ...(privateKeyId === undefined ? {} : { kid: privateKeyId }),
    };
    const claims = {
      iss: clientEmail,
      scope,
      aud: tokenUri,
      iat: now,
      exp: now + 3600,
    };
    const signed = [head, claims]
      .map((part) => base64url(new TextEncoder().encode(JSON.stringify(part))))
      .join(".");
    this.#key ??= importKey(this.#account.privateKey);
    const signature = await crypto.subtle.sign(
      algorithm.name,
      await this.#key,
      new TextEncoder().encode(signed),
    );
    return `${signed}.${base64url(new Uint8Array(signature))}`;
  }
}

const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

async function importKey(pem: string): Promise<CryptoKey> {
  try {
    const base64 = pem.replace(/-----[A-Z ]+-----|\s/g, "");
    const der = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return await crypto.subtle.importKey("pkcs8", der, algorithm, false, [
      "sign",
    ]);
  } catch {
    // The runtime's error may quote the key.
    throw new ReplyFault({ reason: "bad_private_key", retryable: false });
  }
}

function parse(body: Uint8Array): Record<string, unknown> {
  try {
    return JSON.parse(new TextDecoder().decode(body)) ?? {};
  } catch {
    return {};
  }
}

function base64url(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll(
    "=",
    "",
  );
}
