import type { SessionSettings } from "./transaction_settings.ts";

/**
 * By these the server finds out within half a minute that a client's host, or
 * the way to it, is gone, and ends its session. Its own default is two hours,
 * for which the session would keep its locks: the successor of an owner whose
 * network was cut would have to wait as long, and so would the owner itself.
 */
export const deadClientSettings: SessionSettings = {
  tcp_keepalives_idle: "10",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3",
  tcp_user_timeout: "25000",
};
