/** Files that hold secrets: keys, credentials, environment files. They are never sent; the terminal client has the same list. */

import { matcher } from "./patterns.js";

const FOLDERS = new Set([".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".secrets", ".password-store"]);
const isSecretName = matcher(
  "{.env,.env.*,*.env,.envrc,.flaskenv,.dev.vars,id_rsa,id_dsa,id_ecdsa,id_ed25519,id_*_sk,*.pem,*.key,*.p8,*.p12,*.pfx," +
    "*.pkcs12,*.jks,*.keystore,*.kdbx,*.ppk,*.asc,*.gpg,*.age,.netrc,_netrc,.npmrc,.yarnrc.yml,.pypirc,.pgpass,.my.cnf," +
    ".htpasswd,.git-credentials,.dockercfg,.boto,.s3cfg,.vault-token,.terraformrc,credentials,credentials.*," +
    "*credentials.json,client_secret*.json,service-account*.json,service_account*.json,secrets,secrets.yml,secrets.yaml," +
    "secrets.json,secrets.toml,secrets.ini,secrets.env,*.secret,*.secrets,kubeconfig,*.tfstate,*.tfstate.*,*.tfvars," +
    "master.key,token,token.txt,tokens.json,auth.json,.token}",
);
const isPublicName = matcher(
  "{.env.example,.env.sample,.env.template,.env.dist,.env.defaults,example.env,sample.env,*.pub,credentials.py," +
    "credentials.ts,credentials.js,credentials.go,credentials.rs,credentials.md}",
);
const KEY = /^\s{0,20}-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY/;

/** Return whether the file at a path, or a folder above it, has a name of secrets. */
export function isSecret(path) {
  const names = path.normalize("NFC").toLowerCase().split("/");
  const name = names.at(-1);
  if (names.some((one) => FOLDERS.has(one)) || /(^|\/)\.(git\/config|docker\/config\.json)$/.test(names.join("/"))) return true;
  return isSecretName(name) && !isPublicName(name);
}

/** Throw if a path, or the text that was read there, holds secrets. */
export function checkSecret(path, text = "") {
  if (!isSecret(path) && !KEY.test(text)) return;
  throw new Error(`${path} may hold secrets (keys, passwords, tokens), so the page does not send it. Go on without its content.`);
}
