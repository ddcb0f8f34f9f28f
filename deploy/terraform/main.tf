# The extension's package as a dependency of FunctionGraph, and the environment that a function needs to use it.
# The function stays yours: see example/.

terraform {
  required_version = ">= 1.5"
  required_providers {
    huaweicloud = {
      source  = "huaweicloud/huaweicloud"
      version = ">= 1.73.0"
    }
  }
}

locals {
  # The object is named by its content: a new package is a new object, a new version of the dependency, and a change
  # that `plan` shows. The object that functions use is never overwritten.
  key = "ingest/${substr(filesha256(var.package), 0, 16)}.zip"

  environment = merge(
    {
      INGEST_BROKERS = join(",", var.brokers)
      INGEST_TOPIC   = var.topic
    },
    var.tls ? { INGEST_TLS = "true" } : {},
    var.settings,
  )

  secrets = var.sasl == null ? {} : { INGEST_SASL = var.sasl }
}

resource "huaweicloud_obs_bucket_object" "package" {
  bucket       = var.bucket
  key          = local.key
  source       = var.package
  content_type = "application/zip"

  # Functions that go back to an earlier version still need its object.
  lifecycle {
    create_before_destroy = true
  }
}

resource "huaweicloud_fgs_dependency_version" "extension" {
  name        = var.name
  runtime     = var.runtime
  link        = "https://${var.bucket_domain_name}/${huaweicloud_obs_bucket_object.package.key}"
  description = "ingest: telemetry into Kafka"

  lifecycle {
    create_before_destroy = true
  }
}
