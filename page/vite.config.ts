import { defineConfig } from "vite";

// The built page is committed and goes into the wheel: users need no Node.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/cxr_reason/gateway/page",
    emptyOutDir: true,
    target: "es2022",
    // A data: URL would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/health": "http://127.0.0.1:8080" } },
});
