# A function with a thousand invocations at once in an instance, and the extension beside it; Kafka is a DMS instance in
# the function's VPC, reached by IP over SASL_SSL.

terraform {
  required_version = ">= 1.5"
  required_providers {
    huaweicloud = {
      source  = "huaweicloud/huaweicloud"
      version = ">= 1.73.0"
    }
  }
}

variable "vpc_id" {
  type = string
}

variable "network_id" {
  type = string
}

variable "agency" {
  description = "Agency with the rights to use the VPC (VPC Administrator) and to read the bucket."
  type        = string
}

variable "kafka_brokers" {
  description = "SASL_SSL addresses of the DMS instance, such as 192.168.0.11:9093."
  type        = list(string)
}

variable "kafka_login" {
  description = "user:password"
  type        = string
  sensitive   = true
}

resource "huaweicloud_obs_bucket" "packages" {
  bucket = "my-packages"
  acl    = "private"
}

module "ingest" {
  source = "../"

  package            = "${path.module}/../../../dist/ingest-extension-linux-amd64.zip"
  bucket             = huaweicloud_obs_bucket.packages.bucket
  bucket_domain_name = huaweicloud_obs_bucket.packages.bucket_domain_name
  brokers            = var.kafka_brokers
  topic              = "telemetry"
  tls                = true
  sasl               = var.kafka_login
  settings = {
    INGEST_TLS_CA     = "/opt/function/code/phy_ca.crt"
    INGEST_TLS_VERIFY = "ca"
  }
}

resource "huaweicloud_fgs_function" "function" {
  name            = "my-function"
  app             = "default"
  handler         = "bootstrap"
  runtime         = "http"
  code_type       = "zip"
  code_filename   = "function.zip"
  func_code       = filebase64("${path.module}/function.zip")
  memory_size     = 512
  timeout         = 30
  concurrency_num = 1000

  agency     = var.agency
  vpc_id     = var.vpc_id
  network_id = var.network_id

  depend_list         = [module.ingest.dependency_version_id]
  user_data           = jsonencode(module.ingest.environment)
  encrypted_user_data = jsonencode(module.ingest.secrets)
}
