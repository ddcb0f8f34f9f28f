output "dependency_version_id" {
  description = "For depend_list of huaweicloud_fgs_function."
  value       = huaweicloud_fgs_dependency_version.extension.version_id
}

output "environment" {
  description = "For user_data of huaweicloud_fgs_function, merged with your own and jsonencoded."
  value       = local.environment
}

output "secrets" {
  description = "For encrypted_user_data of huaweicloud_fgs_function, merged with your own and jsonencoded."
  value       = local.secrets
  sensitive   = true
}
