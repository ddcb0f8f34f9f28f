variable "package" {
  description = "Path of ingest-extension-linux-amd64.zip or -arm64.zip, whichever the function's processors need."
  type        = string
}

variable "bucket" {
  description = "OBS bucket that the package is put into; FunctionGraph must be able to read it."
  type        = string
}

variable "bucket_domain_name" {
  description = "Host name of the bucket, such as BUCKET.obs.REGION.myhuaweicloud.com."
  type        = string
}

variable "name" {
  description = "Name of the dependency."
  type        = string
  default     = "ingest-extension"
}

variable "runtime" {
  description = "Runtime of the function, as huaweicloud_fgs_function names it. High concurrency needs http or Custom Image."
  type        = string
  default     = "http"
}

variable "brokers" {
  description = "Brokers to start from, host:port each."
  type        = list(string)

  validation {
    condition     = length(var.brokers) > 0 && alltrue([for b in var.brokers : can(regex(":[0-9]+$", b))])
    error_message = "At least one broker, each as host:port."
  }
}

variable "topic" {
  description = "Topic of the events."
  type        = string
}

variable "tls" {
  description = "Whether the brokers' port speaks TLS."
  type        = bool
  default     = false
}

variable "sasl" {
  description = "Login as user:password, or null. It goes into the function's encrypted environment."
  type        = string
  default     = null
  sensitive   = true
}

variable "settings" {
  description = "More settings of the extension: names as in docs/settings.md (INGEST_ACK, INGEST_TLS_VERIFY, ...). No secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for k in keys(var.settings) : can(regex("^INGEST_[A-Z_]+$", k))])
    error_message = "Each setting's name begins with INGEST_."
  }
  validation {
    condition     = length(setintersection(keys(var.settings), ["INGEST_SASL", "INGEST_SASL_PASSWORD"])) == 0
    error_message = "A password goes into sasl, not into settings."
  }
}
