import type { SessionSettings } from "./transaction_settings.ts";

/**
 * Makes the server notice within half a minute that a client's host, or the way
 * to it, is gone, and end the session. Its default is two hours, during which
 * the session would keep its locks: the successor of an owner whose network was
 * cut would have to wait that long, and so would the owner itself.
 */
export const deadClientSettings: SessionSettings = {
  tcp_keepalives_idle: "10",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3",
  tcp_user_timeout: "25000",
};
