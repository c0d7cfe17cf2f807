/** Who may do what. */
export { Access, type AccessConfig, type AccessLog, type Origin } from "./access.ts";
export type { Audit } from "./audit.ts";
export type { TenantConfig } from "./credentials.ts";
export type { TokenRequest } from "./tokens.ts";
