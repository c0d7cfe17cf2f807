/** Before each test file over the planted build: which bug is on. */
(globalThis as { planted?: number }).planted = Number(process.env["CAIRN_PLANTED"] ?? 0);
